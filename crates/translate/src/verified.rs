//! Clusters that are spoken to in the mesh's TLS ask endpoints for the names of their accounts, where no rule says which
//! names. A stage of its own after the endpoints: most changes of these leave the accounts as they are, and the IR the
//! same object.

use std::collections::BTreeMap;
use std::sync::Arc;

use limen_ir::tls::{ClientTls, Trust, TrustedNames};
use limen_ir::{Cluster, ClusterKey, Ir};

use crate::memo::{Same, keep};

/// By cluster, the accounts of its endpoints; none is empty.
pub(crate) type AccountsOf = BTreeMap<ClusterKey, Arc<[String]>>;

/// What was made before, for sharing.
#[derive(Debug, Default)]
pub(crate) struct VerifiedMemo {
    last: Option<Verified>,
}

#[derive(Debug)]
struct Verified {
    from: Arc<Ir>,
    accounts: AccountsOf,
    made: Arc<Ir>,
}

/// Does the cluster ask for nobody in particular of its mesh?
pub(crate) fn asks_nobody(cluster: &Cluster) -> bool {
    let Some(ClientTls { mesh: Some(_), trust: Some(Trust::Authorities { names, .. }), .. }) = &cluster.tls
    else {
        return false;
    };
    *names == TrustedNames::Any
}

/// The IR with those `accounts` asked for.
pub(crate) fn verify(from: &Arc<Ir>, accounts: AccountsOf, memo: &mut VerifiedMemo) -> Arc<Ir> {
    let last = memo.last.take();
    if accounts.is_empty() {
        return Arc::clone(from);
    }
    let made = match &last {
        Some(last) if last.from.same(from) && last.accounts == accounts => Arc::clone(&last.made),
        last => {
            let last = last.as_ref();
            let mut clusters = BTreeMap::clone(&from.clusters);
            for (key, names) in &accounts {
                if let Some(cluster) = clusters.get_mut(key) {
                    *cluster =
                        keep(last.and_then(|last| last.made.clusters.get(key)), asking(cluster, names));
                }
            }
            keep(last.map(|last| &last.made), Ir { clusters: Arc::new(clusters), ..Ir::clone(from) })
        }
    };
    memo.last = Some(Verified { from: Arc::clone(from), accounts, made: Arc::clone(&made) });
    made
}

fn asking(cluster: &Cluster, accounts: &[String]) -> Cluster {
    let mut cluster = cluster.clone();
    if let Some(ClientTls { trust: Some(Trust::Authorities { names, .. }), .. }) = &mut cluster.tls {
        *names = TrustedNames::Listed(accounts.to_vec());
    }
    cluster
}
