use super::*;
use std::io;

/// What `haremq <args>` does with these variables and, at any path, this configuration file.
fn run(args: &str, env: &[(&str, &str)], file: &str) -> Result<Command, Usage> {
    let args = ["haremq"].into_iter().chain(args.split_whitespace()).map(OsString::from);
    let env = env.iter().map(|(name, value)| (name.into(), value.into()));
    parse_with(args, env, |_| Ok(file.to_owned()))
}

fn config(args: &str, env: &[(&str, &str)], file: &str) -> Config {
    match run(args, env, file) {
        Ok(Command::Serve(config)) => *config,
        other => panic!("{other:?}"),
    }
}

fn printed(args: &str, env: &[(&str, &str)], file: &str) -> String {
    match run(args, env, file) {
        Ok(Command::Print(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn refused(args: &str, env: &[(&str, &str)], file: &str) -> String {
    let line = run(args, env, file).expect_err("accepted").to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

/// A setting's flag, variable and line in a file, three values for them, and how to read the result.
type Case = (&'static str, &'static str, &'static str, [&'static str; 4], fn(&Config) -> String);

#[test]
fn flag_over_environment_over_file_over_default() {
    let cases: [Case; 6] = [
        (
            "--amqp",
            "HAREMQ_AMQP",
            "amqp",
            ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3", "[::]:5672"],
            |config| config.amqp.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        ),
        (
            "--http",
            "HAREMQ_HTTP",
            "http",
            ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3", "0.0.0.0:15672"],
            |config| config.http.to_string(),
        ),
        (
            "--metrics",
            "HAREMQ_METRICS",
            "metrics",
            ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3", "0.0.0.0:15692"],
            |config| config.metrics.to_string(),
        ),
        ("--data-dir", "HAREMQ_DATA_DIR", "data_dir", ["/a", "b", ":memory:", "haremq-data"], |config| {
            match &config.data_dir {
                config::DataDir::Memory => ":memory:".to_owned(),
                config::DataDir::Path(path) => path.display().to_string(),
            }
        }),
        ("--log", "HAREMQ_LOG", "log", ["debug", "warn", "info,haremq::store=trace", "info"], |config| {
            config.log.to_string()
        }),
        ("--log-format", "HAREMQ_LOG_FORMAT", "log_format", ["text", "json", "text", "text"], |config| {
            format!("{:?}", config.log_format).to_lowercase()
        }),
    ];
    for (flag, variable, key, [by_flag, by_env, by_file, default], read) in cases {
        let flags = format!("--config c.toml {flag} {by_flag}");
        let env = [(variable, by_env)];
        let file = format!("{key} = '{by_file}'");
        assert_eq!(read(&config(&flags, &env, &file)), by_flag);
        assert_eq!(read(&config("--config c.toml", &env, &file)), by_env);
        assert_eq!(read(&config("--config c.toml", &[], &file)), by_file);
        assert_eq!(read(&config("", &[], &file)), default, "a file that nobody named");
    }
}

#[test]
fn the_file_is_named_by_flag_or_environment() {
    let named = |args: &str, env: &[(&str, &str)]| {
        let args = ["haremq"].into_iter().chain(args.split_whitespace()).map(OsString::from);
        let env = env.iter().map(|(name, value)| (name.into(), value.into()));
        let read = |path: &Path| Ok(format!("data_dir = '{}'", path.display()));
        match parse_with(args, env, read) {
            Ok(Command::Serve(config)) => config.data_dir,
            other => panic!("{other:?}"),
        }
    };
    let env = [("HAREMQ_CONFIG", "env.toml")];
    assert_eq!(named("--config flag.toml", &env), config::DataDir::Path("flag.toml".into()));
    assert_eq!(named("", &env), config::DataDir::Path("env.toml".into()));
}

#[test]
fn options_are_taken_before_and_behind_the_command() {
    let here = config("--http 127.0.0.1:1", &[], "");
    assert_eq!(config("serve --http 127.0.0.1:1", &[], ""), here);
    assert_eq!(config("--http 127.0.0.1:1 serve", &[], ""), here);
}

#[test]
fn several_listeners_may_be_named_in_each_way() {
    let both = ["127.0.0.1:1", "[::1]:2"].map(|text| text.parse().unwrap());
    assert_eq!(config("--amqp 127.0.0.1:1 --amqp [::1]:2", &[], "").amqp, both);
    assert_eq!(config("--amqp 127.0.0.1:1,[::1]:2", &[], "").amqp, both);
    assert_eq!(config("", &[("HAREMQ_AMQP", "127.0.0.1:1, [::1]:2")], "").amqp, both);
    assert_eq!(config("--config c", &[], "amqp = ['127.0.0.1:1', '[::1]:2']").amqp, both);
}

#[test]
fn empty_and_foreign_variables_are_no_settings() {
    let env = [("HAREMQ_HTTP", ""), ("HAREMQ_CONFIG", ""), ("HAREMQ_PORT", "tcp://10.0.0.1:5672")];
    assert_eq!(config("", &env, ""), config("", &[], ""));
}

#[test]
fn refused_files() {
    let cases = [
        "\n\n\n\n\n[limits]\nframe_max = 12",
        "http = '0.0.0.0:1'\n\namqpp = '0.0.0.0:2'\nzzz = 1",
        "[limits]\nframemax = 1",
        "[defaults]\nusers = []",
        "[limit]\n",
        "limits = 3",
        "frame_max = 8192",
        "amqp = []",
        "amqp = ['127.0.0.1:1', 'localhost:2']",
        "amqp = [5672]",
        "http = 15672",
        "http = ['0.0.0.0:1']",
        "metrics = '0.0.0.0'",
        "data_dir = ''",
        "log = 'inof'",
        "log = 'info,=debug'",
        "log_format = 'xml'",
        "loopback_users = ['']",
        "shutdown_timeout_ms = -1",
        "shutdown_timeout_ms = 3_600_001",
        "limits.frame_max = 16777217",
        "limits.frame_max = '8192'",
        "limits.frame_max = 99999999999999999999",
        "limits.channel_max = 0",
        "limits.channel_max = 65536",
        "limits.heartbeat_s = 60.5",
        "limits.handshake_timeout_ms = 99",
        "limits.max_message_size = 0x2000_0001",
        "limits.connections_max = 0",
        "disk.free_limit = -1",
        "disk.free_limit = '50 MB'",
        "disk.when_full = 'drop'",
        "defaults.user = ''",
        "defaults.password = 1234",
        "defaults.vhost = ''",
        "log = \"\"\"many\nlines of text that is far too long to be shown as a whole in a message\"\"\"",
        "http = ",
        "http = 'x",
        "http = '0.0.0.0:1'\nhttp = '0.0.0.0:2'",
        "[limits]\n[limits]",
    ];
    let lines = cases.map(|file| format!("{file}\n=> {}\n", refused("--config haremq.toml", &[], file)));
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn refused_variables_and_flags() {
    let variables = [
        ("HAREMQ_AMQP", "nonsense"),
        ("HAREMQ_HTTP", "nonsense"),
        ("HAREMQ_METRICS", "15692"),
        ("HAREMQ_LOG", "loud"),
        ("HAREMQ_LOG_FORMAT", "xml"),
    ];
    let flags = [
        "--amqp 127.0.0.1:1 --amqp nonsense",
        "--http :80",
        "--metrics localhost:1",
        "--log loud",
        "--log-format xml",
        "--htp 1",
        "--http",
        "--http 127.0.0.1:1 --http 127.0.0.1:2",
        "server",
        "serve serve",
        "-x",
    ];
    let variables = variables.map(|pair| format!("{}\n", refused("", &[pair], "")));
    let flags = flags.map(|args| format!("{args}\n=> {}\n", refused(args, &[], "")));
    insta::assert_snapshot!(format!("{}\n{}", variables.concat(), flags.join("\n")));
}

#[test]
fn a_bad_value_is_refused_even_when_it_is_overridden() {
    let line = refused("--http 127.0.0.1:1", &[("HAREMQ_HTTP", "nonsense")], "");
    assert!(line.starts_with("HAREMQ_HTTP=nonsense: must be"), "{line}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let args = ["haremq", "--config", "gone.toml"].map(OsString::from);
    let gone = |_: &Path| Err(io::Error::from(io::ErrorKind::NotFound));
    let error = parse_with(args, [], gone).expect_err("accepted");
    assert_eq!(error.to_string(), "gone.toml: entity not found");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_unicode_is_named() {
    use std::os::unix::ffi::OsStringExt;
    let env = [("HAREMQ_LOG".into(), OsString::from_vec(vec![0xff]))];
    let error = parse_with([OsString::from("haremq")], env, |_| Ok(String::new())).expect_err("accepted");
    assert_eq!(error.to_string(), "HAREMQ_LOG: must be UTF-8");
}

const FULL: &str = r#"
metrics = "127.0.0.1:9"
data_dir = "C:\\queues \u0007"
loopback_users = []
[limits]
frame_max = 8192
connections_max = 500
[defaults]
user = "rabbit"
password = "secret"
"#;

#[test]
fn check_config_says_where_values_come_from() {
    let text = printed("check-config --config c.toml --amqp [::1]:1", &[("HAREMQ_LOG", "debug")], FULL);
    assert!(!text.contains("secret"));
    insta::assert_snapshot!(text);
}

#[test]
fn check_config_prints_a_file_that_means_the_same() {
    for file in ["", FULL.replace("password", "# password").as_str()] {
        let first = config("--config c.toml", &[], file);
        let shown = printed("check-config --config c.toml", &[], file);
        assert_eq!(config("--config c.toml", &[], &shown), first, "{shown}");
    }
}

#[test]
fn help_and_version() {
    assert_eq!(printed("--version", &[], ""), concat!("haremq ", env!("CARGO_PKG_VERSION"), "\n"));
    insta::assert_snapshot!(printed("--help", &[], ""));
}

#[test]
fn help_of_the_store() {
    let pages = ["store", "store check", "store stats", "store export", "store import"];
    let pages =
        pages.map(|command| format!("## {command}\n{}", printed(&format!("{command} --help"), &[], "")));
    insta::assert_snapshot!(pages.join("\n"));
}

#[test]
fn store_commands() {
    let store = |args: &str| match run(args, &[("HAREMQ_CONFIG", "unread.toml")], "nonsense") {
        Ok(Command::Store(command)) => command,
        other => panic!("{other:?}"),
    };
    let dir = PathBuf::from("d");
    assert_eq!(store("store check d"), StoreCommand::Check { dir: dir.clone() });
    assert_eq!(store("store stats d --json"), StoreCommand::Stats { dir: dir.clone(), json: true });
    let (vhost, queue, output) = (Some("/".into()), Some("q".into()), Some("f".into()));
    assert_eq!(
        store("store export d --vhost / --queue q --output f"),
        StoreCommand::Export { dir: dir.clone(), vhost, queue, output }
    );
    assert_eq!(store("store import d"), StoreCommand::Import { dir, file: None });
    let lines = ["store", "store check", "store check d e", "store export d --queue", "store mend d"];
    let lines = lines.map(|args| format!("{args}\n=> {}\n", refused(args, &[], "")));
    insta::assert_snapshot!(lines.join("\n"));
}

mod logging {
    use crate::cli::logging::subscriber;
    use crate::config::LogFormat;
    use std::fmt;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::{format::Writer, time::FormatTime};

    struct Noon;

    impl FormatTime for Noon {
        fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
            w.write_str("2030-01-01T12:00:00Z")
        }
    }

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = subscriber(&filter.parse().unwrap(), format, move || writer.clone(), Noon);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "haremq::server", port = 5672, user = "a\nb", "listening");
            tracing::debug!(target: "haremq::store", "synced");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines() {
        let text = logged("info", LogFormat::Text);
        insta::assert_snapshot!(text + &logged("info", LogFormat::Json));
    }

    #[test]
    fn a_filter_may_name_modules() {
        let text = logged("off,haremq::store=debug", LogFormat::Text);
        assert_eq!(text, "2030-01-01T12:00:00Z DEBUG haremq::store: synced\n");
    }
}
