//! Whose turn it is: deficit round-robin over organizations, in each over its applications, in each over its
//! lanes, with a limit of attempts under way at every level. Constant work per start, however many wait.
//!
//! There are three such rounds, taken in turn: of lanes whose receivers are quick, of new ones, and of slow ones, which
//! may hold only a part of the places (`pace`, `places`).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Limits;
use super::lane::Lane;
use super::pace::Share;
use super::places::{Bounds, Load, Places, UNKNOWN_BYTES};
use crate::domain::{ApplicationId, EndpointId, OrganizationId, Seq, Timestamp};

/// What a ring gives a member each time round. The cost of the dearest delivery, so that each visit can
/// start one and a pick is constant work.
pub(super) const QUANTUM: u32 = MAX_COST;

/// Bytes of payload that cost as much as starting an attempt does. Chosen: four grades up to a message's
/// limit of 1 MiB.
const BYTES_PER_COST: u32 = 256 * 1024;
const MAX_COST: u32 = 5;

/// A member's place in the ring above it.
#[derive(Debug, Default)]
struct Turn {
    /// In the ring.
    queued: bool,
    deficit: u32,
}

/// A lane's places, one in each round: its pace may change while it waits for its turn in another.
#[derive(Debug, Default)]
pub(super) struct Turns([Turn; Share::ALL.len()]);

/// Organizations, applications and what is under way in them.
#[derive(Debug)]
pub(super) struct Tree {
    bounds: Bounds,
    org_bounds: Bounds,
    app_bounds: Bounds,
    places: Places,
    /// One for each share.
    rings: [VecDeque<OrganizationId>; Share::ALL.len()],
    /// Which round is asked first.
    next: usize,
    orgs: HashMap<OrganizationId, Group<ApplicationId>>,
    apps: HashMap<ApplicationId, Group<EndpointId>>,
    /// The places of attempts under way, and since when they have them.
    taken: HashMap<(EndpointId, Seq), (Pick, Timestamp)>,
}

/// An organization or application with its members.
#[derive(Debug)]
struct Group<M> {
    places: Places,
    /// One for each share.
    rounds: [Round<M>; Share::ALL.len()],
}

/// The members of a group that have something to start, and the group's own place in the ring above.
#[derive(Debug)]
struct Round<M> {
    ring: VecDeque<M>,
    turn: Turn,
}

/// The lane that starts its next delivery, and the place that it got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pick {
    pub(super) lane: EndpointId,
    app: ApplicationId,
    org: OrganizationId,
    share: Share,
    bytes: u32,
}

impl Tree {
    pub(super) fn new(limits: &Limits) -> Self {
        // As with attempts: no application takes more than half, no organization more than three quarters.
        let bounds = |attempts, bytes| Bounds::new(Load { attempts, bytes });
        Self {
            bounds: bounds(limits.gateway, limits.bytes),
            org_bounds: bounds(limits.organization, limits.bytes - limits.bytes / 4),
            app_bounds: bounds(limits.application, limits.bytes / 2),
            places: Places::default(),
            rings: Default::default(),
            next: 0,
            orgs: HashMap::new(),
            apps: HashMap::new(),
            taken: HashMap::new(),
        }
    }

    /// Gives a lane that can start something its place, unless it has it.
    pub(super) fn offer(&mut self, id: EndpointId, lane: &mut Lane) {
        let share = lane.pace.share();
        let turn = lane.turns.of(share);
        if turn.queued {
            return;
        }
        turn.queued = true;
        let app = self.apps.entry(lane.app()).or_default();
        app.round(share).ring.push_back(id);
        self.queue(lane.org(), lane.app(), share);
    }

    /// The picked lane has started this delivery.
    pub(super) fn started(&mut self, now: Timestamp, pick: Pick, message: Seq) {
        self.taken.insert((pick.lane, message), (pick, now));
    }

    /// An attempt of this lane, which may be forgotten, has ended. How long it had its place; none if it had none.
    pub(super) fn finished(
        &mut self,
        now: Timestamp,
        lane: EndpointId,
        message: Seq,
    ) -> Option<Duration> {
        let (pick, since) = self.taken.remove(&(lane, message))?;
        let Pick {
            app,
            org,
            share,
            bytes,
            ..
        } = pick;
        self.places.give_back(share, bytes);
        if let Some(group) = self.apps.get_mut(&app) {
            group.places.give_back(share, bytes);
        }
        if let Some(group) = self.orgs.get_mut(&org) {
            group.places.give_back(share, bytes);
        }
        if self.apps.get(&app).is_some_and(Group::is_unused) {
            self.apps.remove(&app);
        }
        for share in Share::ALL {
            self.queue(org, app, share);
        }
        if self.orgs.get(&org).is_some_and(Group::is_unused) {
            self.orgs.remove(&org);
        }
        Some(now.since(since))
    }

    /// The lane that starts its next delivery; its place is taken at every level.
    pub(super) fn next(
        &mut self,
        now: Timestamp,
        lanes: &mut HashMap<EndpointId, Lane>,
    ) -> Option<Pick> {
        let count = Share::ALL.len();
        let first = self.next;
        (first..first + count).find_map(|round| {
            let pick = self.pick(Share::ALL[round % count], now, lanes)?;
            self.next = (round + 1) % count;
            Some(pick)
        })
    }

    fn pick(
        &mut self,
        share: Share,
        now: Timestamp,
        lanes: &mut HashMap<EndpointId, Lane>,
    ) -> Option<Pick> {
        loop {
            let ring = &mut self.rings[share as usize];
            let org_id = *ring.front()?;
            let Some(org) = self.orgs.get_mut(&org_id) else {
                ring.pop_front();
                continue;
            };
            let Some(&app_id) = org.round(share).ring.front() else {
                ring.pop_front();
                org.round(share).turn.queued = false;
                if org.is_unused() {
                    self.orgs.remove(&org_id);
                }
                continue;
            };
            let Some(app) = self.apps.get_mut(&app_id) else {
                org.round(share).ring.pop_front();
                continue;
            };
            let Some(&lane_id) = app.round(share).ring.front() else {
                org.round(share).ring.pop_front();
                app.round(share).turn.queued = false;
                if app.is_unused() {
                    self.apps.remove(&app_id);
                }
                continue;
            };
            let Some(lane) = lanes.get_mut(&lane_id) else {
                app.round(share).ring.pop_front();
                continue;
            };
            let next = lane.next_bytes(now);
            let Some(bytes) = next.filter(|_| lane.pace.share() == share) else {
                app.round(share).ring.pop_front();
                lane.turns.of(share).queued = false;
                continue;
            };
            let cost = (1 + bytes / BYTES_PER_COST).min(MAX_COST);
            // The others cost their places, whatever they send: one at each turn.
            let counts = share == Share::Quick;
            let bytes = if bytes == 0 { UNKNOWN_BYTES } else { bytes };
            // Who finds no place leaves the ring until one is given back there.
            if !self.places.admit(&self.bounds, share, bytes) {
                return None;
            }
            if !org.places.admit(&self.org_bounds, share, bytes) {
                ring.pop_front();
                org.round(share).turn.queued = false;
            } else if !app.places.admit(&self.app_bounds, share, bytes) {
                org.round(share).ring.pop_front();
                app.round(share).turn.queued = false;
            } else if counts && !org.round(share).turn.affords(cost) {
                ring.rotate_left(1);
            } else if counts && !app.round(share).turn.affords(cost) {
                org.round(share).ring.rotate_left(1);
            } else if counts && !lane.turns.of(share).affords(cost) {
                app.round(share).ring.rotate_left(1);
            } else {
                if counts {
                    let turns = [
                        &mut org.round(share).turn,
                        &mut app.round(share).turn,
                        lane.turns.of(share),
                    ];
                    turns.into_iter().for_each(|turn| turn.deficit -= cost);
                } else {
                    ring.rotate_left(1);
                    org.round(share).ring.rotate_left(1);
                    app.round(share).ring.rotate_left(1);
                }
                for places in [&mut self.places, &mut org.places, &mut app.places] {
                    places.take(share, bytes);
                }
                return Some(Pick {
                    lane: lane_id,
                    app: app_id,
                    org: org_id,
                    share,
                    bytes,
                });
            }
        }
    }

    /// Puts an application and its organization back into their rings where they have something to start.
    fn queue(&mut self, org_id: OrganizationId, app_id: ApplicationId, share: Share) {
        let org = self.orgs.entry(org_id).or_default().round(share);
        if let Some(app) = self.apps.get_mut(&app_id) {
            let app = app.round(share);
            if !app.turn.queued && !app.ring.is_empty() {
                app.turn.queued = true;
                org.ring.push_back(app_id);
            }
        }
        if !org.turn.queued && !org.ring.is_empty() {
            org.turn.queued = true;
            self.rings[share as usize].push_back(org_id);
        }
    }
}

impl Turns {
    fn of(&mut self, share: Share) -> &mut Turn {
        &mut self.0[share as usize]
    }

    pub(super) fn any_queued(&self) -> bool {
        self.0.iter().any(|turn| turn.queued)
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
    fn round(&mut self, share: Share) -> &mut Round<M> {
        &mut self.rounds[share as usize]
    }

    fn is_unused(&self) -> bool {
        let at_rest = |round: &Round<M>| round.ring.is_empty() && !round.turn.queued;
        self.places.is_empty() && self.rounds.iter().all(at_rest)
    }
}

impl<M> Default for Group<M> {
    fn default() -> Self {
        let round = |_| Round {
            ring: VecDeque::new(),
            turn: Turn::default(),
        };
        Self {
            places: Places::default(),
            rounds: Share::ALL.map(round),
        }
    }
}
