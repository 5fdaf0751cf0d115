//! A broker that exports what it was asked for, over a real socket.

use super::*;
use std::os::unix::fs::FileTypeExt;
use tokio::sync::oneshot;

struct Fake;

impl Administration for Fake {
    fn export(&self, of: &Selection) -> Result<ExportStream, String> {
        let asked = format!("{:?} {:?}\n", of.vhost, of.queue);
        match of.queue.as_deref() {
            Some("none") => Err("there is no queue 'none'".into()),
            Some("broken") => Ok(Box::new(|out| {
                out.write_all(b"half")?;
                Err(io::Error::other("the disk is gone"))
            })),
            _ => Ok(Box::new(move |out| (0..100_000).try_for_each(|_| out.write_all(asked.as_bytes())))),
        }
    }
}

async fn asked(vhost: Option<&str>, queue: Option<&str>) -> (Result<(), String>, String) {
    let dir = std::env::temp_dir().join(format!("haremq-socket-{}-{queue:?}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("haremq.sock");
    // One that was left behind.
    drop(bind_socket(&path).unwrap());
    let listener = bind_socket(&path).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let (stop, stopped) = oneshot::channel::<()>();
    let router = socket_router(Arc::new(Fake));
    let serving = tokio::spawn(crate::serve(listener, router, async { _ = stopped.await }));
    let selection = Selection { vhost: vhost.map(Into::into), queue: queue.map(Into::into) };
    let mut text = Vec::new();
    let result = export(&path, &selection, |piece| {
        text.extend_from_slice(piece);
        Ok(())
    });
    let result = result.await.map_err(|error| error.to_string());
    stop.send(()).unwrap();
    serving.await.unwrap();
    fs::remove_dir_all(&dir).unwrap();
    (result, String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn an_export_comes_whole_and_with_its_selection() {
    let (result, text) = asked(Some("/"), Some("a b&c=ü?")).await;
    assert_eq!(result, Ok(()));
    assert_eq!(text, "Some(\"/\") Some(\"a b&c=ü?\")\n".repeat(100_000));
    assert_eq!(asked(None, None).await.1, "None None\n".repeat(100_000));
}

#[tokio::test]
async fn a_refusal_says_why() {
    let refused = Err("the broker refuses: there is no queue 'none'".to_owned());
    assert_eq!(asked(None, Some("none")).await, (refused, String::new()));
}

#[tokio::test]
async fn an_export_that_breaks_off_is_not_taken_for_whole() {
    let (result, _) = asked(None, Some("broken")).await;
    assert!(result.unwrap_err().contains("broke off"));
}

#[tokio::test]
async fn nobody_answers() {
    let result = export(Path::new("/nowhere/haremq.sock"), &Selection::default(), |_| Ok(())).await;
    assert!(matches!(result, Err(FetchError::Unreachable(_))));
}
