use super::*;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode, header};
use base64::Engine;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use tower::ServiceExt;

const LOCAL: &str = "127.0.0.1:40000";

/// A broker of values.
struct Fake(Overview);

impl Management for Fake {
    fn overview(&self) -> Overview {
        self.0.clone()
    }

    fn authenticate(&self, user: &str, password: &str, peer: IpAddr) -> Result<Identity, Refused> {
        let tags = match (user, password) {
            ("guest", "guest") if !peer.is_loopback() => return Err(Refused::NotLoopback),
            ("guest", "guest") | ("admin", "with:colon") => vec!["administrator".to_owned()],
            ("plain", "plain") => vec!["impersonator".to_owned()],
            ("buggy", _) => panic!("a bug in the broker"),
            _ => return Err(Refused::Credentials),
        };
        Ok(Identity { name: user.to_owned(), tags })
    }
}

fn overview() -> Overview {
    let listener = |protocol, address: &str| Listener { protocol, address: address.parse().unwrap() };
    Overview {
        node: "rabbit@burrow".to_owned(),
        cluster_name: "the \"warren\"".to_owned(),
        version: "0.1.0",
        rabbitmq_version: "4.3.6",
        uptime_ms: 93_784_500,
        in_service: true,
        connections_max: Some(3),
        listeners: vec![listener("amqp", "[::]:5672"), listener("http", "127.0.0.1:15672")],
        exchange_types: vec![ExchangeType { name: "direct", description: "AMQP direct exchange" }],
        counts: Counts { connections: 2, channels: 3, exchanges: 7, queues: 4, consumers: 5 },
        totals: Totals {
            messages_ready: 10,
            messages_unacknowledged: 6,
            messages_delayed: 3,
            messages_dead_lettering: 1,
        },
        message_stats: MessageStats {
            publish: 100,
            confirm: 90,
            deliver: 41,
            deliver_no_ack: 22,
            get: 13,
            get_no_ack: 4,
            get_empty: 5,
            redeliver: 6,
            ack: 37,
            return_unroutable: 8,
            drop_unroutable: 9,
            dead_lettered: Deaths { rejected: 4, expired: 3, maxlen: 2, delivery_limit: 1 },
            dead_dropped: Deaths { expired: 5, ..Deaths::default() },
        },
        churn: Churn {
            connection_created: 21,
            connection_closed: 19,
            channel_created: 33,
            channel_closed: 30,
            queue_declared: 12,
            queue_created: 11,
            queue_deleted: 7,
        },
        store: Some(StoreFigures {
            log_bytes: 2_000,
            live_bytes: 1_500,
            syncs: 7,
            ..StoreFigures::default()
        }),
        disk: Some(DiskSpace { free: 70_000_000_000, limit: 50_000_000 }),
        alarms: Vec::new(),
    }
}

/// A request as a transcript shows it: `GET /path`, from a peer, perhaps with a login or a raw header.
fn request(line: &str, peer: &str, authorization: Option<&str>) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    let peer: SocketAddr = peer.parse().unwrap();
    request.extension(ConnectInfo(peer)).body(Body::empty()).unwrap()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}")))
}

async fn answer(overview: Overview, request: Request<Body>) -> Response<Body> {
    router(Arc::new(Fake(overview))).oneshot(request).await.unwrap()
}

/// Status, headers and body, one per line.
async fn transcript(response: Response<Body>) -> String {
    let (head, body) = response.into_parts();
    let mut lines: Vec<_> =
        head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines.insert(0, head.status.to_string());
    let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap();
    let body = match serde_json::from_str::<serde_json::Value>(&body) {
        Ok(json) => serde_json::to_string_pretty(&json).unwrap(),
        Err(_) => body,
    };
    format!("{}\n\n{body}", lines.join("\n"))
}

async fn exchange(overview: Overview, line: &str, authorization: Option<&str>) -> String {
    transcript(answer(overview, request(line, LOCAL, authorization)).await).await
}

#[tokio::test]
async fn overview_with_a_login() {
    insta::assert_snapshot!(exchange(overview(), "GET /api/overview", Some(&basic("guest", "guest"))).await);
}

#[tokio::test]
async fn logins() {
    let garbage = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode([0xff, b':']));
    let no_colon = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode("guest"));
    let cases = [
        ("no login", LOCAL, None),
        ("wrong password", LOCAL, Some(basic("guest", "gues"))),
        ("no management tag", LOCAL, Some(basic("plain", "plain"))),
        ("guest from elsewhere", "10.0.0.1:40000", Some(basic("guest", "guest"))),
        ("not base64", LOCAL, Some("Basic !!!".to_owned())),
        ("not UTF-8", LOCAL, Some(garbage)),
        ("no colon", LOCAL, Some(no_colon)),
        ("no scheme", LOCAL, Some("guest".to_owned())),
        ("another scheme", LOCAL, Some("Bearer abc".to_owned())),
        ("a panic in the broker", LOCAL, Some(basic("buggy", ""))),
    ];
    let mut transcripts = String::new();
    for (name, peer, login) in cases {
        let response = answer(overview(), request("GET /api/overview", peer, login.as_deref())).await;
        writeln!(transcripts, "## {name}\n{}\n", transcript(response).await).unwrap();
    }
    insta::assert_snapshot!(transcripts);
}

#[tokio::test]
async fn good_logins() {
    let cases = [
        (LOCAL, "guest", "guest"),
        ("[::ffff:127.0.0.1]:4000", "guest", "guest"),
        ("10.0.0.1:4000", "admin", "with:colon"),
    ];
    for (peer, user, password) in cases {
        let request = request("GET /api/overview", peer, Some(&basic(user, password)));
        assert_eq!(answer(overview(), request).await.status(), StatusCode::OK, "{user} from {peer}");
    }
}

#[tokio::test]
async fn a_request_without_a_known_peer_gets_no_login() {
    let mut request = request("GET /api/overview", LOCAL, Some(&basic("guest", "guest")));
    request.extensions_mut().clear();
    assert_eq!(answer(overview(), request).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let mut transcripts = String::new();
    for line in [
        "GET /api/nosuch",
        "GET /api",
        "GET /nosuch.js",
        "POST /api/overview",
        "DELETE /api/overview",
        "PUT /",
        "OPTIONS /api/overview",
        "HEAD /api/health/checks/is-in-service",
    ] {
        writeln!(transcripts, "## {line}\n{}\n", exchange(overview(), line, None).await).unwrap();
    }
    insta::assert_snapshot!(transcripts);
}

const CHECKS: [&str; 4] = ["alarms", "local-alarms", "is-in-service", "ready-to-serve-clients"];

async fn checks(overview: Overview, authorization: Option<&str>) -> String {
    let mut lines = String::new();
    for check in CHECKS {
        let request = request(&format!("GET /api/health/checks/{check}"), LOCAL, authorization);
        let response = answer(overview.clone(), request).await;
        let (status, cache) = (response.status(), response.headers()[header::CACHE_CONTROL].clone());
        let body =
            String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().into()).unwrap();
        writeln!(lines, "{check}: {} ({}) {body}", status.as_u16(), cache.to_str().unwrap()).unwrap();
    }
    lines
}

#[tokio::test]
async fn health() {
    let login = basic("guest", "guest");
    let mut alarmed = overview();
    alarmed.alarms = vec![Alarm::Memory, Alarm::Disk, Alarm::Store];
    let mut full = overview();
    full.counts.connections = 3;
    let mut stopping = overview();
    stopping.in_service = false;
    let mut deaf = overview();
    deaf.listeners.remove(0);
    let mut lines = format!("## no login\n{}", checks(overview(), None).await);
    for (name, state) in
        [("well", overview()), ("alarmed", alarmed), ("full", full), ("stopping", stopping), ("deaf", deaf)]
    {
        writeln!(lines, "\n## {name}\n{}", checks(state, Some(&login)).await.trim_end()).unwrap();
    }
    insta::assert_snapshot!(lines);
}

#[tokio::test]
async fn the_page_needs_no_login_and_names_nothing() {
    let page = exchange(overview(), "GET /", None).await;
    assert!(!page.contains("burrow") && !page.contains("warren"));
    insta::assert_snapshot!(page);
}

#[tokio::test]
async fn the_page_shows_what_is_wrong() {
    let mut state = overview();
    state.alarms = vec![Alarm::Disk];
    assert!(exchange(state.clone(), "GET /", None).await.contains("Serving, with alarms"));
    state.in_service = false;
    assert!(exchange(state, "GET /", None).await.contains("Not serving clients"));
}

#[tokio::test]
async fn the_style_sheet_is_served_as_one() {
    let response = answer(overview(), request("GET /style.css", LOCAL, None)).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/css; charset=utf-8");
}

#[tokio::test]
async fn metrics() {
    let mut state = overview();
    state.alarms = vec![Alarm::Disk];
    let router = metrics_router(Arc::new(Fake(state)));
    let response = router.oneshot(request("GET /metrics", LOCAL, None)).await.unwrap();
    insta::assert_snapshot!(transcript(response).await);
}

#[tokio::test]
async fn a_large_body_is_refused() {
    let body = |len| {
        let mut request = request("POST /api/overview", LOCAL, None);
        *request.body_mut() = Body::from(vec![b' '; len]);
        request
    };
    assert_eq!(answer(overview(), body(limits::BODY_MAX)).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer(overview(), body(limits::BODY_MAX + 1)).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_is_ended() {
    let router: Router = Router::new().fallback(std::future::pending::<()>).layer(from_fn(limits::enforce));
    let response = router.oneshot(request("GET /", LOCAL, None)).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

mod over_a_socket {
    use super::*;
    use crate::serve::HEAD_TIMEOUT;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::oneshot;

    /// Sends `bytes` to a server and reads until it closes, or until `enough` has come.
    async fn talk(bytes: &[u8], enough: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, router(Arc::new(Fake(overview()))), async {
            let _ = stopped.await;
        }));
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut text = String::new();
        let mut buffer = [0; 4096];
        while enough.is_empty() || !text.contains(enough) {
            match stream.read(&mut buffer).await.unwrap() {
                0 => break,
                len => text.push_str(std::str::from_utf8(&buffer[..len]).unwrap()),
            }
        }
        stop.send(()).unwrap();
        // The connection is idle and still open: stopping must not wait for its peer.
        server.await.unwrap();
        text
    }

    #[tokio::test]
    async fn the_peer_is_known_and_stopping_ends_idle_connections() {
        let login = basic("guest", "guest");
        let head =
            format!("GET /api/health/checks/alarms HTTP/1.1\r\nhost: x\r\nauthorization: {login}\r\n\r\n");
        let text = talk(head.as_bytes(), "{\"status\":\"ok\"}").await;
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    }

    #[tokio::test]
    async fn a_long_head_is_refused() {
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nlong: {}", "x".repeat(16 * 1024));
        let text = talk(head.as_bytes(), "").await;
        assert!(text.starts_with("HTTP/1.1 431"), "{text}");
    }

    #[tokio::test]
    async fn many_headers_are_refused() {
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(64));
        let text = talk(head.as_bytes(), "").await;
        assert!(text.starts_with("HTTP/1.1 431"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_is_not_waited_for_long() {
        let start = tokio::time::Instant::now();
        let text = talk(b"GET / HTTP/1.1\r\nhost: x\r\n", "").await;
        assert!(!text.contains("200 OK"), "{text}");
        assert!(start.elapsed() >= HEAD_TIMEOUT);
    }
}
