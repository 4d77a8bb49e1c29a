//! Whose turn it is: deficit round-robin over organizations, in each over its applications, in each over its
//! lanes, with a limit of attempts under way at every level. Constant work per start, however many wait.

use std::collections::{HashMap, VecDeque};

use super::Limits;
use super::lane::Lane;
use crate::domain::{ApplicationId, EndpointId, OrganizationId, Timestamp};

/// What a ring gives a member each time round. The cost of the dearest delivery, so that each visit can
/// start one and a pick is constant work.
pub(super) const QUANTUM: u32 = MAX_COST;

/// Bytes of payload that cost as much as starting an attempt does. Chosen: four grades up to a message's
/// limit of 1 MiB.
const BYTES_PER_COST: u32 = 256 * 1024;
const MAX_COST: u32 = 5;

/// A member's place in the ring above it.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// In the ring.
    pub(super) queued: bool,
    deficit: u32,
}

/// Organizations, applications and what is under way in them.
#[derive(Debug)]
pub(super) struct Tree {
    gateway_limit: u32,
    org_limit: u32,
    app_limit: u32,
    in_flight: u32,
    ring: VecDeque<OrganizationId>,
    orgs: HashMap<OrganizationId, Group<ApplicationId>>,
    apps: HashMap<ApplicationId, Group<EndpointId>>,
}

/// An organization or application with its ring of members.
#[derive(Debug)]
struct Group<M> {
    in_flight: u32,
    ring: VecDeque<M>,
    turn: Turn,
}

impl Tree {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            gateway_limit: limits.gateway,
            org_limit: limits.organization,
            app_limit: limits.application,
            in_flight: 0,
            ring: VecDeque::new(),
            orgs: HashMap::new(),
            apps: HashMap::new(),
        }
    }

    /// Gives a lane that can start something its place.
    pub(super) fn offer(
        &mut self,
        org: OrganizationId,
        app: ApplicationId,
        lane: EndpointId,
        turn: &mut Turn,
    ) {
        turn.queued = true;
        self.apps.entry(app).or_default().ring.push_back(lane);
        self.queue(org, app);
    }

    /// An attempt of this application has ended.
    pub(super) fn finished(&mut self, org: OrganizationId, app: ApplicationId) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(group) = self.apps.get_mut(&app) {
            group.in_flight = group.in_flight.saturating_sub(1);
        }
        if let Some(group) = self.orgs.get_mut(&org) {
            group.in_flight = group.in_flight.saturating_sub(1);
        }
        if self.apps.get(&app).is_some_and(Group::is_unused) {
            self.apps.remove(&app);
        }
        self.queue(org, app);
        if self.orgs.get(&org).is_some_and(Group::is_unused) {
            self.orgs.remove(&org);
        }
    }

    /// The lane that starts its next delivery; the start is booked at every level.
    pub(super) fn next(
        &mut self,
        now: Timestamp,
        lanes: &mut HashMap<EndpointId, Lane>,
    ) -> Option<EndpointId> {
        while self.in_flight < self.gateway_limit {
            let org_id = *self.ring.front()?;
            let Some(org) = self.orgs.get_mut(&org_id) else {
                self.ring.pop_front();
                continue;
            };
            let app_id = match org.ring.front() {
                Some(id) if org.in_flight < self.org_limit => *id,
                _ => {
                    self.ring.pop_front();
                    org.turn.queued = false;
                    if org.is_unused() {
                        self.orgs.remove(&org_id);
                    }
                    continue;
                }
            };
            let Some(app) = self.apps.get_mut(&app_id) else {
                org.ring.pop_front();
                continue;
            };
            let lane_id = match app.ring.front() {
                Some(id) if app.in_flight < self.app_limit => *id,
                _ => {
                    org.ring.pop_front();
                    app.turn.queued = false;
                    if app.is_unused() {
                        self.apps.remove(&app_id);
                    }
                    continue;
                }
            };
            let Some(lane) = lanes.get_mut(&lane_id) else {
                app.ring.pop_front();
                continue;
            };
            let Some(bytes) = lane.next_bytes(now) else {
                app.ring.pop_front();
                lane.turn.queued = false;
                continue;
            };
            let cost = (1 + bytes / BYTES_PER_COST).min(MAX_COST);
            if !org.turn.affords(cost) {
                self.ring.rotate_left(1);
            } else if !app.turn.affords(cost) {
                org.ring.rotate_left(1);
            } else if !lane.turn.affords(cost) {
                app.ring.rotate_left(1);
            } else {
                for turn in [&mut org.turn, &mut app.turn, &mut lane.turn] {
                    turn.deficit -= cost;
                }
                org.in_flight += 1;
                app.in_flight += 1;
                self.in_flight += 1;
                return Some(lane_id);
            }
        }
        None
    }

    /// Puts an application and its organization back into their rings where they have something to start.
    fn queue(&mut self, org_id: OrganizationId, app_id: ApplicationId) {
        let org = self.orgs.entry(org_id).or_default();
        if let Some(app) = self.apps.get_mut(&app_id)
            && !app.turn.queued
            && !app.ring.is_empty()
            && app.in_flight < self.app_limit
        {
            app.turn.queued = true;
            org.ring.push_back(app_id);
        }
        if !org.turn.queued && !org.ring.is_empty() && org.in_flight < self.org_limit {
            org.turn.queued = true;
            self.ring.push_back(org_id);
        }
    }
}

impl Turn {
    /// Whether the member can pay. One that can not gets its quantum and waits for its next turn.
    fn affords(&mut self, cost: u32) -> bool {
        if self.deficit >= cost {
            return true;
        }
        self.deficit += QUANTUM;
        false
    }
}

impl<M> Group<M> {
    fn is_unused(&self) -> bool {
        self.in_flight == 0 && self.ring.is_empty() && !self.turn.queued
    }
}

impl<M> Default for Group<M> {
    fn default() -> Self {
        Self {
            in_flight: 0,
            ring: VecDeque::new(),
            turn: Turn::default(),
        }
    }
}
