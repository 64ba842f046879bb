//! Rights.

use limen_e2e::server::{Rights, Server};
use limen_e2e::within;

use super::lists::{MAPS, ROUTES};

fn right(group: &str, plural: &str, verb: &str) -> (String, String, String) {
    (group.to_owned(), plural.to_owned(), verb.to_owned())
}

#[tokio::test]
async fn what_is_not_allowed_is_answered_with_403() {
    let server = Server::start("forbidden").await;
    let rights = Rights::from([right("", "configmaps", "list")]);
    let account = server.account(&rights).await;
    within("the right to be known", async {
        while account.get(&server.path(MAPS)).await.0 != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for path in [format!("{}/one", server.path(MAPS)), server.path(ROUTES), server.path("secrets.")] {
        let (code, answer) = account.get(&path).await;
        assert_eq!(
            (code, answer["reason"].as_str(), answer["code"].as_u64()),
            (403, Some("Forbidden"), Some(403))
        );
        assert!(answer["message"].as_str().unwrap().contains("forbidden"), "{answer}");
    }
}
