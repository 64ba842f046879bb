//! Rules that several hosts have: made once, and looked after once in each generation.

use std::sync::Arc;

use limen_ir::route as ir;

use super::RouteMemo;
use crate::applied::AppliedProblem;
use crate::compile::clusters::{Allotted, Slots};
use crate::table::pattern::{Bill, Engines};
use crate::table::routes::Rules;

/// The compiled rules of a host, or of several that have the same.
pub(super) struct CompiledRules {
    /// Held for its address, too.
    pub(super) source: Arc<[Arc<ir::Rule>]>,
    pub(super) rules: Rules,
    /// The slots of the clusters that they name.
    pub(super) slots: Named,
    pub(super) problems: Box<[AppliedProblem]>,
    /// The engines of their expressions.
    pub(super) bill: Bill,
}

/// Rules that several hosts have.
pub(super) struct Shared {
    compiled: Arc<CompiledRules>,
    /// Have they been found to stay as they are in this generation? `None`: nobody has asked.
    stays: Option<bool>,
}

impl Shared {
    /// Ends a generation. Does anybody have them still?
    pub(super) fn turn(&mut self) -> bool {
        self.stays = None;
        Arc::strong_count(&self.compiled) > 1
    }

    fn stays(&mut self, clusters: &mut dyn Slots, engines: &mut Engines) -> bool {
        *self.stays.get_or_insert_with(|| self.compiled.stays(clusters, engines))
    }
}

/// Slots; most hosts name one cluster.
pub(super) enum Named {
    One(Allotted),
    Several(Box<[Allotted]>),
}

impl CompiledRules {
    /// Are the slots of their clusters still theirs, and is there room for their expressions? All slots are kept, as that
    /// also says that the clusters are still named.
    fn stays(&self, clusters: &mut dyn Slots, engines: &mut Engines) -> bool {
        let stay = match &self.slots {
            Named::One(slot) => clusters.keep(*slot),
            Named::Several(slots) => slots.iter().filter(|slot| !clusters.keep(**slot)).count() == 0,
        };
        stay && engines.settle(&self.bill)
    }
}

impl RouteMemo {
    /// Would the same come of these rules now? Of rules that many hosts have that is asked once.
    pub(super) fn stays(&mut self, rules: &Arc<CompiledRules>, clusters: &mut dyn Slots) -> bool {
        match self.lists.get_mut(&address(&rules.source)) {
            Some(shared) => Arc::ptr_eq(&shared.compiled, rules) && shared.stays(clusters, &mut self.engines),
            None => rules.stays(clusters, &mut self.engines),
        }
    }

    /// Compiles the rules of a host, unless another host has them.
    pub(super) fn rules(
        &mut self,
        source: &Arc<[Arc<ir::Rule>]>,
        clusters: &mut dyn Slots,
    ) -> Arc<CompiledRules> {
        if let Some(shared) = self.lists.get_mut(&address(source))
            && shared.stays(clusters, &mut self.engines)
        {
            return shared.compiled.clone();
        }
        let several = Arc::strong_count(source) > 1;
        let compiled = Arc::new(self.compile(source, clusters));
        if several {
            self.lists.insert(address(source), Shared { compiled: compiled.clone(), stays: Some(true) });
        }
        compiled
    }
}

fn address(list: &Arc<[Arc<ir::Rule>]>) -> usize {
    Arc::as_ptr(list).addr()
}
