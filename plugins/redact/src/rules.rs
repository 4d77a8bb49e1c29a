//! The pointers of all three lists as one tree, so that a payload is walked once.

/// What happens to a value; of several the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Hash,
    Mask,
    Remove,
}

/// The rules from one place in the payload on downwards.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) action: Option<Action>,
    children: Vec<(String, Rules)>,
}

impl Rules {
    pub(crate) fn add(&mut self, segments: &[String], action: Action) {
        let Some((first, rest)) = segments.split_first() else {
            self.action = self.action.max(Some(action));
            return;
        };
        let at = match self
            .children
            .iter()
            .position(|(segment, _)| segment == first)
        {
            Some(at) => at,
            None => {
                self.children.push((first.clone(), Rules::default()));
                self.children.len() - 1
            }
        };
        self.children[at].1.add(rest, action);
    }

    /// The rules for a member or item: those under its own name and those under `*`.
    pub(crate) fn under<'a>(&'a self, segment: &'a str) -> impl Iterator<Item = &'a Rules> {
        self.children
            .iter()
            .filter(move |(name, _)| name == segment || name == "*")
            .map(|(_, rules)| rules)
    }

    pub(crate) fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }
}
