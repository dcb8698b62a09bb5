//! Which generations there are, how they follow from each other, and which one is published; and what else the control
//! log says.

use super::{ControlLog, Cut, Entry, Generation};
use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::flow;
use crate::input::{Anew, Line};
use crate::switches::{AllRecorded, Recorded};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use weir_proto::{Minute, StageId, Topic};

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
}

/// The generations of a data directory.
pub struct Registry {
    dir: DataDir,
    log: ControlLog,
    inner: Mutex<Inner>,
}

impl Registry {
    /// Reads the control log. Without one there is the first generation only, with unknown rules (0).
    pub fn open(dir: &DataDir) -> Result<Self, JobError> {
        let log = ControlLog::new(dir.control_log());
        let registry = Registry { dir: dir.clone(), log, inner: Mutex::default() };
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
        let mut inner = self.inner();
        self.log.append(entry)?;
        apply(&mut inner, entry, cut);
        Ok(())
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
        inner.known.values().any(|k| k.standing == Standing::Candidate && k.generation.paused)
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
        self.dir.begin_state(generation.id, cut, generation.from)?;
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
            checkpoints: self.dir.checkpoints(),
        }))
    }
}

fn apply(inner: &mut Inner, entry: &Entry, cut: Cut) {
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
        Entry::Switch(entry) => inner.switches.entry(entry.name.clone()).or_default().apply(entry),
    }
}
