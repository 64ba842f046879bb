//! Rights.

use limen_e2e::server::Server;
use limen_e2e::within;
use serde_json::json;

use super::lists::{MAPS, ROUTES};

#[tokio::test]
async fn what_is_not_allowed_is_answered_with_403() {
    let server = Server::start("forbidden").await;
    let (name, api) = (&server.namespace, "rbac.authorization.k8s.io");
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]);
    let manifest = [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "few"}}),
        json!({"apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}),
        json!({"apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "few", "namespace": name}]}),
    ];
    let account = server.account(&manifest).await;
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
