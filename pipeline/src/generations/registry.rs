//! Which generations there are, how they follow from each other, and which one is published; and what else the control
//! log says.

use super::shared::{Decision, Decisions, is_same};
use super::{ControlLog, Cut, Entry, Generation};
use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::flow;
use crate::input::{Anew, Line};
use crate::rule_set::RuleSet;
use crate::switches::{AllRecorded, Recorded};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use weir_operators::Rules;
use weir_proto::{Minute, StageId, Topic};
use weir_state::depot::Depot;

/// How a generation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It runs beside the published one.
    Candidate,
    /// It is decided that it takes over at a tick; until all is settled.
    Promoting,
    /// It is the one that counts.
    Published,
    /// Another one has taken over.
    Superseded,
    /// It was given up.
    Dropped,
}

impl Standing {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Candidate => "candidate",
            Standing::Promoting => "promoting",
            Standing::Published => "published",
            Standing::Superseded => "superseded",
            Standing::Dropped => "dropped",
        }
    }
}

fn unknown(id: u32) -> String {
    format!("there is no generation {id}: `weir generation list` shows those there are")
}

#[derive(Clone)]
struct Known {
    generation: Generation,
    standing: Standing,
    promoted_at: Option<Minute>,
    /// The tick at which it ended, when another one took over.
    ended_at: Option<Minute>,
    ends: BTreeMap<Topic, Arc<OnceLock<Vec<u64>>>>,
    /// For readers, in a group: at which tick what it follows ends, once that is decided.
    ends_at: Arc<AtomicU32>,
    /// Whether the one before has ended.
    took_over: bool,
    /// How many adjustments were posted for it, once all were.
    settled: Option<u64>,
    cut: Arc<Cut>,
}

#[derive(Default)]
struct Inner {
    known: BTreeMap<u32, Known>,
    published: u32,
    switches: AllRecorded,
    /// How many decisions a group has made, so far as they are known here.
    decisions: u64,
}

/// The generations of a data directory.
pub struct Registry {
    dir: DataDir,
    log: ControlLog,
    inner: Mutex<Inner>,
    /// Of a group: what its workers decide together.
    shared: Option<Decisions>,
}

impl Registry {
    /// Reads the control log. Without one there is the first generation only, with unknown rules (0).
    pub fn open(dir: &DataDir) -> Result<Self, JobError> {
        let log = ControlLog::new(dir.control_log());
        let registry = Registry { dir: dir.clone(), log, inner: Mutex::default(), shared: None };
        registry.reload()?;
        Ok(registry)
    }

    /// Reads what was decided since.
    pub fn reload(&self) -> Result<(), JobError> {
        let (entries, _) = self.log.read()?;
        let mut inner = self.inner();
        *inner = Inner { published: 1, ..Inner::default() };
        let dropped: Vec<u32> = entries.iter().filter_map(Entry::drops).collect();
        for entry in &entries {
            let cut = match entry {
                // What was dropped has none any more, the first generation never had one.
                Entry::Begun(g) if g.id > 1 && !dropped.contains(&g.id) => self.dir.read_cut(g.id)?,
                _ => Cut::default(),
            };
            apply(&mut inner, entry, cut);
        }
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides something, durably.
    pub fn decide(&self, entry: &Entry) -> Result<(), JobError> {
        self.decide_with(entry, Cut::default())
    }

    fn decide_with(&self, entry: &Entry, cut: Cut) -> Result<(), JobError> {
        let Some(shared) = self.shared.as_ref().filter(|_| entry.is_shared()) else {
            return self.note(None, entry, cut);
        };
        let next = self.inner().decisions + 1;
        if !shared.put(next, &self.told(entry, cut.clone())?)? {
            return Err(JobError::Overtaken);
        }
        // How it counts is told by when it came.
        let counts = shared.get(next)?.map_or(Entry::clone(entry), |decided| decided.entry);
        self.note(Some(next), &counts, cut)?;
        match counts {
            Entry::TooLate { generation } => Err(JobError::Refused(format!(
                "object storage took so long to answer that other workers may not know in time that generation {generation} \
                 takes over: it does not; promote it again"
            ))),
            _ => Ok(()),
        }
    }

    /// Writes down what is decided; what has a number, once.
    fn note(&self, number: Option<u64>, entry: &Entry, cut: Cut) -> Result<(), JobError> {
        let mut inner = self.inner();
        if number.is_none_or(|number| inner.decisions + 1 == number) {
            self.log.append(entry)?;
            apply(&mut inner, entry, cut);
        }
        Ok(())
    }

    /// A decision with what others need to know of it.
    fn told(&self, entry: &Entry, cut: Cut) -> Result<Decision, JobError> {
        let (cut, rules) = match entry {
            Entry::Begun(g) => {
                (Some(cut), Some(RuleSet::load(&self.dir.rules(), g.rules, &Rules::default())?))
            }
            _ => (None, None),
        };
        Ok(Decision { entry: entry.clone(), cut, rules })
    }

    /// Decides together with the other workers of a group from now on. What they have decided comes in at once, or, if
    /// object storage is away and this worker has been in the group before, when it is back.
    pub fn share(mut self, depot: Arc<Depot>) -> Result<Self, JobError> {
        let shared = Decisions(depot);
        let caught_up = self.expect_same(&shared);
        self.shared = Some(shared);
        match caught_up.and_then(|()| self.take_in(|_| Ok(()))) {
            Err(error) if error.is_away() && self.get(1).is_some() => {
                tracing::warn!("what the group has decided meanwhile is not known yet: {error}");
            }
            caught_up => caught_up?,
        }
        Ok(self)
    }

    /// Refuses to go on where something else was decided than what this worker knows.
    fn expect_same(&self, shared: &Decisions) -> Result<(), JobError> {
        for (number, own) in (1..).zip(self.log.read()?.0.into_iter().filter(Entry::is_shared)) {
            let decided = match shared.get(number)? {
                Some(decided) => decided.entry,
                None if shared.put(number, &self.told(&own, self.cut_of(&own))?)? => own.clone(),
                // Somebody was faster.
                None => shared.get(number)?.ok_or(JobError::Overtaken)?.entry,
            };
            if !is_same(&decided, &own) {
                return Err(JobError::Control {
                    path: self.dir.control_log(),
                    problem: format!(
                        "says of its decision {number} something else than the group has decided: `checkpoints.remote` names \
                         another place than before, or the rules are other ones. Put that right, or start a new data directory"
                    ),
                });
            }
        }
        Ok(())
    }

    fn cut_of(&self, begun: &Entry) -> Cut {
        match begun {
            Entry::Begun(generation) => (*self.cut(generation.id)).clone(),
            _ => Cut::default(),
        }
    }

    /// Whether other workers have decided something that has not come in yet.
    pub fn has_news(&self) -> Result<bool, JobError> {
        let next = self.inner().decisions + 1;
        self.shared.as_ref().map_or(Ok(false), |shared| Ok(shared.get(next)?.is_some()))
    }

    /// Whether it decides together with others.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Takes in what other workers have decided since, one after the other, and has each carried out.
    pub fn take_in(&self, mut carry_out: impl FnMut(&Entry) -> Result<(), JobError>) -> Result<(), JobError> {
        let Some(shared) = &self.shared else { return Ok(()) };
        loop {
            let next = self.inner().decisions + 1;
            let Some(Decision { entry, cut, rules }) = shared.get(next)? else { return Ok(()) };
            rules.map_or(Ok(()), |rules| rules.save(&self.dir.rules()))?;
            let cut = cut.unwrap_or_default();
            if let Entry::Begun(generation) = &entry
                && generation.id > 1
            {
                self.dir.begin_state(generation.id, &cut, |_| false)?;
            }
            self.note(Some(next), &entry, cut)?;
            carry_out(&entry)?;
        }
    }

    /// What was decided about a switch.
    pub fn switch(&self, name: &str) -> Recorded {
        self.inner().switches.get(name).cloned().unwrap_or_default()
    }

    /// Every generation with its standing, in order.
    pub fn all(&self) -> Vec<(Generation, Standing)> {
        self.inner().known.values().map(|k| (k.generation.clone(), k.standing)).collect()
    }

    /// A generation and its standing.
    pub fn get(&self, id: u32) -> Option<(Generation, Standing)> {
        self.inner().known.get(&id).map(|k| (k.generation.clone(), k.standing))
    }

    /// The id of the published one.
    pub fn published(&self) -> u32 {
        self.inner().published
    }

    /// The tick at which a generation took over.
    pub fn promoted_at(&self, id: u32) -> Option<Minute> {
        self.inner().known.get(&id).and_then(|k| k.promoted_at)
    }

    /// The tick at which a generation ended.
    pub fn ended_at(&self, id: u32) -> Option<Minute> {
        self.inner().known.get(&id).and_then(|k| k.ended_at)
    }

    /// The generations that are or were published.
    pub fn was_published(&self) -> Vec<u32> {
        let inner = self.inner();
        let published = |k: &&Known| !matches!(k.standing, Standing::Candidate | Standing::Dropped);
        inner.known.values().filter(published).map(|k| k.generation.id).collect()
    }

    /// The generation whose outputs of a stage are appended to by what comes from outside: that of the
    /// published one once the end of the one before is known.
    pub fn ends_generation(&self, id: u32, stage: StageId) -> u32 {
        match self.get(id) {
            Some((generation, Standing::Promoting)) if !self.has_ends(id) => {
                self.runs(generation.recorded, stage)
            }
            _ => self.runs(id, stage),
        }
    }

    /// The first stage that the lines of two generations run differently.
    pub fn first_difference(&self, one: u32, other: u32) -> StageId {
        let differs = |stage: &&flow::Stage| self.runs(one, stage.id) != self.runs(other, stage.id);
        flow::FLOW.iter().find(differs).map_or(StageId::PostProcess, |s| s.id)
    }

    /// Whether the end of what a promoted generation follows is known.
    pub fn has_ends(&self, id: u32) -> bool {
        self.inner().known.get(&id).is_some_and(|k| k.took_over)
    }

    /// The cut that a generation was begun from.
    pub fn cut(&self, id: u32) -> Arc<Cut> {
        self.inner().known.get(&id).map(|k| k.cut.clone()).unwrap_or_default()
    }

    /// Generations that are promoted and not settled.
    pub fn unsettled(&self) -> Vec<u32> {
        let inner = self.inner();
        let unsettled = inner.known.values().filter(|k| k.standing == Standing::Promoting);
        unsettled.map(|k| k.generation.id).collect()
    }

    /// Generations that are settled, with how many adjustments were posted for each.
    pub fn settled(&self) -> Vec<(u32, u64)> {
        let inner = self.inner();
        inner.known.iter().filter_map(|(id, k)| k.settled.map(|posted| (*id, posted))).collect()
    }

    /// Whether nothing is taken in while a candidate runs.
    pub fn is_paused(&self) -> bool {
        let inner = self.inner();
        // One that follows what is published no more is about to be dropped.
        let counts =
            |k: &Known| k.standing == Standing::Candidate && k.generation.recorded == inner.published;
        inner.known.values().any(|k| counts(k) && k.generation.paused)
    }

    /// Whether a candidate may be promoted as things stand.
    pub fn check_promotable(&self, id: u32) -> Result<(), JobError> {
        let refused = |text: String| Err(JobError::Refused(text));
        let Some((generation, standing)) = self.get(id) else { return refused(unknown(id)) };
        if standing != Standing::Candidate {
            return refused(format!(
                "generation {id} is {}, not a candidate: only what runs beside the published one can take over",
                standing.name()
            ));
        }
        if !self.unsettled().is_empty() {
            return refused("another promotion is under way: wait until it is settled".to_owned());
        }
        if generation.recorded != self.published() {
            return refused(format!(
                "generation {id} follows generation {}, which is not published any more: drop it and rewind anew",
                generation.recorded
            ));
        }
        Ok(())
    }

    /// Whether a generation may be dropped as things stand.
    pub fn check_droppable(&self, id: u32) -> Result<Generation, JobError> {
        match self.get(id) {
            Some((generation, Standing::Candidate)) => Ok(generation),
            Some((_, standing)) => Err(JobError::Refused(format!(
                "generation {id} is {}: only a candidate can be dropped, what was published belongs to the books",
                standing.name()
            ))),
            None => Err(JobError::Refused(unknown(id))),
        }
    }

    /// Begins a generation, durably: its stores are links to the checkpoints of the cut.
    pub fn begin(&self, generation: &Generation, cut: &Cut) -> Result<(), JobError> {
        // Who takes a partition over in a group fetches its state from object storage.
        let here = |stage| self.shared.is_none() && stage >= generation.from;
        self.dir.begin_state(generation.id, cut, here)?;
        self.decide_with(&Entry::Begun(generation.clone()), cut.clone())
    }

    /// Takes in a generation that is known to this process only.
    pub fn adopt(&self, generation: Generation, cut: Cut) {
        apply(&mut self.inner(), &Entry::Begun(generation), cut);
    }

    /// Where the charges of two lines begin to differ: up to this cut they are the same. `None` if they
    /// do not differ.
    pub fn divergence(&self, one: u32, other: u32) -> Option<Arc<Cut>> {
        let (a, b) = (self.ancestors(one), self.ancestors(other));
        let only_in_one = a.iter().filter(|g| !b.contains(g)).chain(b.iter().filter(|g| !a.contains(g)));
        let inner = self.inner();
        only_in_one
            .filter_map(|g| inner.known.get(g))
            .filter(|k| k.generation.from <= StageId::Deduct)
            .min_by_key(|k| k.generation.cut)
            .map(|k| k.cut.clone())
    }

    /// The id that the next generation gets.
    pub fn next_id(&self) -> u32 {
        self.inner().known.keys().next_back().map_or(2, |id| id + 1)
    }

    /// A generation and those that its line goes back to.
    pub fn ancestors(&self, id: u32) -> Vec<u32> {
        let inner = self.inner();
        let base = |id: &u32| inner.known.get(id).filter(|k| k.generation.id > 1).map(|k| k.generation.base);
        std::iter::successors(Some(id), base).collect()
    }

    /// The generation in the line of `id` that runs a stage behind a minute.
    pub fn generation_of(&self, id: u32, stage: StageId, minute: Minute) -> u32 {
        let inner = self.inner();
        let mut id = id;
        while let Some(known) = inner.known.get(&id).filter(|k| k.generation.id > 1) {
            if stage >= known.generation.from && minute > known.generation.cut {
                break;
            }
            id = known.generation.base;
        }
        id
    }

    /// The generation in the line of `id` that runs a stage now.
    pub fn runs(&self, id: u32, stage: StageId) -> u32 {
        self.generation_of(id, stage, Minute(u32::MAX))
    }

    /// The generation that appends to a topic now, in the line of `id`.
    pub fn writes(&self, id: u32, topic: Topic) -> u32 {
        match topic {
            Topic::Raw | Topic::Adjustments | Topic::Retry | Topic::Dead => 1,
            Topic::Notices => self.runs(id, StageId::PostProcess),
            Topic::Dropped => self.runs(id, StageId::AntiBrush),
            Topic::Answers => self.runs(id, StageId::Deduct),
            Topic::Clean | Topic::Judged | Topic::Charges => self.runs(id, flow::maker(topic)),
        }
    }

    /// How a topic is read in the line of a generation.
    pub fn line(&self, id: u32, topic: Topic) -> Arc<Line> {
        self.outputs(id, flow::maker(topic), topic)
    }

    /// How what a stage appends to a topic is read in the line of a generation.
    pub fn outputs(&self, id: u32, stage: StageId, topic: Topic) -> Arc<Line> {
        let maker = self.runs(id, stage);
        let inner = self.inner();
        self.line_of(&inner, maker, stage, topic)
    }

    fn line_of(&self, inner: &Inner, id: u32, stage: StageId, topic: Topic) -> Arc<Line> {
        let Some(known) = inner.known.get(&id).filter(|k| k.generation.id > 1) else {
            return Arc::new(Line::First(topic.of(1)));
        };
        let generation = &known.generation;
        if stage < generation.from {
            return self.line_of(inner, generation.base, stage, topic);
        }
        Arc::new(Line::Anew(Anew {
            id: topic.of(id),
            reader: flow::reader(topic),
            base: self.line_of(inner, generation.base, stage, topic),
            recorded: self.line_of(inner, generation.recorded, stage, topic),
            cut: known.cut.clone(),
            ends: known.ends.get(&topic).cloned().unwrap_or_default(),
            writers: self.dir.partitions(),
            ends_at: if self.is_shared() { known.ends_at.clone() } else { Arc::default() },
            checkpoints: self.dir.checkpoints(),
        }))
    }
}

fn apply(inner: &mut Inner, entry: &Entry, cut: Cut) {
    inner.decisions += u64::from(entry.is_shared());
    match entry {
        Entry::Begun(generation) => {
            let topics = flow::topics_from(generation.from);
            let known = Known {
                standing: if generation.id == 1 { Standing::Published } else { Standing::Candidate },
                promoted_at: None,
                ended_at: None,
                took_over: false,
                settled: None,
                ends: topics.map(|t| (t, Arc::default())).collect(),
                ends_at: Arc::default(),
                cut: Arc::new(cut),
                generation: generation.clone(),
            };
            inner.known.insert(generation.id, known);
        }
        Entry::Promoted { generation, at } => {
            let before = std::mem::replace(&mut inner.published, *generation);
            if let Some(known) = inner.known.get_mut(&before) {
                (known.standing, known.ended_at) = (Standing::Superseded, Some(*at));
            }
            if let Some(known) = inner.known.get_mut(generation) {
                (known.standing, known.promoted_at) = (Standing::Promoting, Some(*at));
                known.ends_at.store(at.0, Ordering::Release);
            }
        }
        Entry::Ended { generation, ends } => {
            if let Some(known) = inner.known.get_mut(generation) {
                known.took_over = true;
                for (topic, ends) in ends {
                    // Said again after a crash, it is the same.
                    known.ends.get(topic).map(|cell| cell.set(ends.clone()).is_ok());
                }
            }
        }
        Entry::Settled { generation, adjustments } => {
            if let Some(known) = inner.known.get_mut(generation) {
                known.settled = Some(*adjustments);
                if known.standing == Standing::Promoting {
                    known.standing = Standing::Published;
                }
            }
        }
        Entry::Dropped { generation } => {
            if let Some(known) = inner.known.get_mut(generation) {
                known.standing = Standing::Dropped;
            }
        }
        Entry::TooLate { .. } => {}
        Entry::Switch(entry) => inner.switches.entry(entry.name.clone()).or_default().apply(entry),
    }
}
