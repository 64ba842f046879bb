//! Servers that accept and say nothing. Time passes as soon as nobody has anything else to do.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use kube::core::GroupVersionKind;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use super::*;

const LIST: &str = r#"{"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "one"}}]}"#;
const ADDED: &str = r#"{"type": "ADDED", "object": {"metadata": {"name": "two", "resourceVersion": "6"}}}
"#;

const GONE: &str = r#"{"type": "DELETED", "object": {"metadata": {"name": "two"}}}
"#;

/// An answer that begins so; it never ends if `open`.
struct Answer {
    begins: Option<Bytes>,
    open: bool,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.begins.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.open => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// Follows a server that answers its n-th request so, or not at all. Returns what is heard, and all requests so far.
fn following(
    answers: impl Fn(usize) -> Option<Answer> + Send + 'static,
) -> (UnboundedReceiver<Heard<String>>, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let known = Arc::clone(&asked);
    let server = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let answer = {
            let mut asked = known.lock().unwrap();
            asked.push(request.uri().to_string());
            answers(asked.len() - 1)
        };
        async move {
            match answer {
                Some(answer) => Ok::<_, Infallible>(http::Response::new(answer)),
                None => std::future::pending().await,
            }
        }
    });
    let kind = GroupVersionKind::gvk("example.com", "v1", "Thing");
    let resource = ApiResource::from_gvk_with_plural(&kind, "things");
    let target = Target { resource, namespace: None, name: None, labels: None, metadata: false };
    let (tell, heard) = unbounded_channel();
    let read = |object: &Value| Some(object.pointer("/metadata/name")?.as_str()?.to_owned());
    let tell = move |news| drop(tell.send(news));
    tokio::spawn(follow(Client::new(server, "default"), target, read, tell));
    (heard, asked)
}

/// What is heard next; whatever is waited for comes within an hour.
async fn next(heard: &mut UnboundedReceiver<Heard<String>>) -> Option<Heard<String>> {
    tokio::time::timeout(Duration::from_secs(3600), heard.recv()).await.unwrap()
}

fn whole(text: &'static str, open: bool) -> Option<Answer> {
    Some(Answer { begins: Some(Bytes::from_static(text.as_bytes())), open })
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_never_answered_is_told_and_asked_for_again() {
    let began = Instant::now();
    let (mut heard, asked) = following(|request| if request < 2 { None } else { whole(LIST, false) });
    let Some(Heard::Failed(failure)) = next(&mut heard).await else { panic!("a failure was to be told") };
    assert_eq!(failure, Failure::slow(ANSWER));
    assert!(began.elapsed() >= 2 * ANSWER, "one alone is not worth a word: {:?}", began.elapsed());
    let Some(Heard::All(all)) = next(&mut heard).await else { panic!("what there is was to be told") };
    assert_eq!(all, ["one"]);
    assert!(asked.lock().unwrap().len() >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_stops_in_its_middle_is_asked_for_again() {
    let (mut heard, _) =
        following(|request| if request == 0 { whole(LIST.split_at(20).0, true) } else { whole(LIST, false) });
    let Some(Heard::All(all)) = next(&mut heard).await else { panic!("what there is was to be told") };
    assert_eq!(all, ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_never_begins_is_begun_anew() {
    let (mut heard, asked) = following(|request| match request {
        0 => whole(LIST, false),
        1 => None,
        _ => whole(ADDED, true),
    });
    assert!(matches!(next(&mut heard).await, Some(Heard::All(_))));
    let Some(Heard::One(one)) = next(&mut heard).await else { panic!("what came was to be told") };
    assert_eq!(one, "two");
    let asked = asked.lock().unwrap();
    assert!(asked.iter().skip(1).all(|uri| uri.contains("watch") && uri.contains("resourceVersion=5")));
}

#[tokio::test(start_paused = true)]
async fn a_watch_in_which_nothing_is_told_any_more_is_begun_anew_where_it_was() {
    let (mut heard, asked) = following(|request| match request {
        0 => whole(LIST, false),
        1 => whole(ADDED, true),
        _ => whole(GONE, true),
    });
    assert!(matches!(next(&mut heard).await, Some(Heard::All(_))));
    assert!(matches!(next(&mut heard).await, Some(Heard::One(_))));
    let before = Instant::now();
    assert!(matches!(next(&mut heard).await, Some(Heard::Gone(_))), "and no failure is told");
    assert!(before.elapsed() >= SILENCE);
    let asked = asked.lock().unwrap();
    assert!(asked.iter().skip(2).all(|uri| uri.contains("resourceVersion=6")), "{asked:?}");
}
