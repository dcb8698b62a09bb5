//! One run: a seed chooses at each step what happens next.

use crate::check;
use crate::clients::Clients;
use crate::facts::Facts;
use crate::faults::{self, Fault};
use crate::generations::{self, Conductor};
use crate::rng::Rng;
use crate::traffic::{self, Timed};
use crate::world::World;
use std::collections::{BTreeMap, VecDeque};
use weir_pipeline::error::JobError;
use weir_pipeline::scheduler::{Need, Work};
use weir_proto::TopicId;
use weir_state::CrashOf;

/// Rounds after the last fault until nothing is left to do, at most.
const ROUNDS: u32 = 20_000;

/// A history to be told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What decides everything.
    pub seed: u64,
    /// Which of its faults come; all if not given.
    pub faults: Option<Vec<usize>>,
    /// Which of its inputs come; all if not given.
    pub inputs: Option<Vec<usize>>,
    /// Whether each step is written down.
    pub told: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Which contract was broken, if one was.
    pub problem: Option<String>,
    /// A line for each step.
    pub history: Vec<String>,
    /// How many faults, inputs and steps there were.
    pub faults: usize,
    /// Inputs.
    pub inputs: usize,
    /// Steps.
    pub steps: u32,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
}

/// A run under way.
pub struct Run {
    /// The world.
    pub world: World,
    /// What the outside knows.
    pub facts: Facts,
    options: Options,
    clients: Clients,
    conductor: Conductor,
    faults: VecDeque<(usize, u32, Fault)>,
    steps: u32,
    step: u32,
    away: BTreeMap<TopicId, u32>,
    history: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

/// Why a run ended.
pub type Broken = String;

fn chosen<T>(all: Vec<T>, which: &Option<Vec<usize>>) -> Vec<(usize, T)> {
    let is_chosen = |at: &usize| which.as_ref().is_none_or(|w| w.contains(at));
    all.into_iter().enumerate().filter(|(at, _)| is_chosen(at)).collect()
}

/// The faults and inputs of a seed.
pub fn plan(seed: u64) -> (u32, u32, Vec<(u32, Fault)>, Vec<Timed>) {
    let mut rng = Rng::new(seed, 1);
    let (partitions, steps) = (rng.between(1, 3) as u32, rng.between(400, 2_400) as u32);
    (partitions, steps, faults::plan(&mut rng, steps), traffic::plan(seed))
}

/// Tells a history.
pub fn run(options: &Options) -> Outcome {
    let (partitions, steps, faults, inputs) = plan(options.seed);
    let faults: VecDeque<_> =
        chosen(faults, &options.faults).into_iter().map(|(n, (at, fault))| (n, at, fault)).collect();
    let inputs: Vec<Timed> = chosen(inputs, &options.inputs).into_iter().map(|(_, input)| input).collect();
    let mut outcome = Outcome { faults: faults.len(), inputs: inputs.len(), ..Outcome::default() };
    let world = World::new(partitions).unwrap();
    let mut run = Run {
        clients: Clients::new(&world, inputs),
        world,
        facts: Facts::default(),
        options: options.clone(),
        conductor: Conductor::default(),
        faults,
        steps,
        step: 0,
        away: BTreeMap::new(),
        history: Vec::new(),
        counts: BTreeMap::new(),
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.whole()));
    outcome.problem = match result {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some(broken),
        Err(panic) => Some(format!("panicked: {}", text_of(&*panic))),
    };
    (outcome.history, outcome.steps) = (std::mem::take(&mut run.history), run.step);
    outcome.counts = std::mem::take(&mut run.counts);
    outcome
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
}

impl Run {
    fn tell(&mut self, line: impl FnOnce(&World) -> String) {
        if self.options.told {
            let clock = (self.world.now_ms() - traffic::T0) as f64 / 1000.0;
            // Where the run has its files is another place each time.
            let said = line(&self.world).replace(&*self.world.root.path().to_string_lossy(), "");
            let line = format!("{:5} {clock:8.2}s  {said}", self.step);
            self.history.push(line);
        }
    }

    /// Something happened.
    pub fn count(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    fn whole(&mut self) -> Result<(), Broken> {
        while self.step < self.steps {
            self.one_step()?;
        }
        self.world.injector.disarm();
        self.away.clear();
        self.tell(|_| "the last fault is over".to_owned());
        self.settle()?;
        self.tell(|_| "stopped and started again".to_owned());
        let mut rng = Rng::new(self.options.seed, 4);
        self.crash(CrashOf::Process, &mut rng)?;
        self.settle()?;
        check::all(self)
    }

    fn one_step(&mut self) -> Result<(), Broken> {
        self.step += 1;
        let mut rng = Rng::new(self.options.seed, 1 << 32 | u64::from(self.step));
        #[cfg(feature = "sabotage")]
        weir_state::sabotage::set_clock(self.world.now_ms());
        while self.faults.front().is_some_and(|(_, at, _)| *at <= self.step) {
            if let Some((number, _, fault)) = self.faults.pop_front() {
                self.tell(|_| format!("fault {number}: {fault:?}"));
                let mut rng = Rng::new(self.options.seed, 2 << 32 | number as u64);
                self.fault(fault, &mut rng)?;
            }
        }
        self.outside(&mut rng)?;
        self.conduct()?;
        let busy: Vec<usize> =
            (0..self.world.tasks.len()).filter(|at| self.world.tasks[*at].need() != Need::Nothing).collect();
        let waiting: Vec<TopicId> = self.world.log.waiting();
        let step = self.step;
        let waiting: Vec<TopicId> =
            waiting.into_iter().filter(|id| self.away.get(id).is_none_or(|until| *until < step)).collect();
        match rng.below(100) {
            0..60 if !busy.is_empty() => self.work(busy[rng.at(busy.len())]),
            60..80 if !waiting.is_empty() => {
                let id = waiting[rng.at(waiting.len())];
                self.world.log.sync(id, &mut rng);
                Ok(())
            }
            80..86 if !self.world.rests.is_empty() => self.rest(&mut rng),
            86..90 if !self.world.zombies.is_empty() => self.zombie(&mut rng),
            _ => {
                let ms = rng.between(20, 4_000);
                self.world.advance(ms);
                Ok(())
            }
        }
    }

    fn outside(&mut self, rng: &mut Rng) -> Result<(), Broken> {
        let said = self.clients.act(&mut self.world, &mut self.facts, rng);
        said.into_iter().for_each(|said| self.tell(|_| said));
        Ok(())
    }

    fn conduct(&mut self) -> Result<(), Broken> {
        self.world.injector.has_fired();
        let result = self.conductor.advance(&mut self.world);
        if let Some(Some(said)) = self.survive(result)? {
            self.count("steps of promotions", 1);
            self.tell(|_| said);
        }
        Ok(())
    }

    /// What the process made of an operation: if something was made to fail, it ends and starts again; any
    /// other error is one of its own.
    fn survive<T>(&mut self, result: Result<T, JobError>) -> Result<Option<T>, Broken> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.world.injector.has_fired() => {
                self.tell(|_| format!("the process ends: {error}"));
                let mut rng = Rng::new(self.options.seed, 3 << 32 | u64::from(self.step));
                self.crash(CrashOf::Process, &mut rng)?;
                Ok(None)
            }
            Err(error) => Err(format!("a task cannot go on: {error}")),
        }
    }

    fn work(&mut self, at: usize) -> Result<(), Broken> {
        let need = self.world.tasks[at].need();
        self.world.injector.has_fired();
        let result = self.world.tasks[at].work(need);
        let task = self.world.tasks[at].status().task;
        if need != Need::Nothing {
            self.tell(|w| {
                let meta = w.tasks[at].store().meta().ok().flatten();
                let meta = meta.map_or(String::new(), |m| format!(" from {} at {}", m.position, m.last_tick));
                format!("{task}: {}{meta}", name_of(need))
            });
        }
        if let Some(Some(rest)) = self.survive(result)? {
            self.world.rests.push((task, rest));
        }
        Ok(())
    }

    fn rest(&mut self, rng: &mut Rng) -> Result<(), Broken> {
        let at = rng.at(self.world.rests.len());
        let (task, rest) = self.world.rests.remove(at);
        self.tell(|_| format!("{task}: its checkpoint is finished"));
        self.world.injector.has_fired();
        let result = rest();
        self.survive(result).map(drop)
    }

    fn zombie(&mut self, rng: &mut Rng) -> Result<(), Broken> {
        let at = rng.at(self.world.zombies.len());
        let need = self.world.zombies[at].need();
        let task = self.world.zombies[at].status().task;
        self.tell(|_| format!("{task}, a zombie: {}", name_of(need)));
        self.count("turns of zombies", u64::from(matches!(need, Need::Turn(_))));
        self.world.injector.has_fired();
        match self.world.zombies[at].work(need) {
            Ok(rest) => self.world.rests.extend(rest.map(|rest| (task, rest))),
            Err(_) if self.world.injector.has_fired() => drop(self.world.zombies.remove(at)),
            Err(error) => return Err(format!("a zombie cannot go on: {error}")),
        }
        Ok(())
    }

    fn crash(&mut self, of: CrashOf, rng: &mut Rng) -> Result<(), Broken> {
        let lost = self.world.stop(of, rng);
        self.count("crashes", 1);
        self.count("appends lost", lost as u64);
        self.conductor = Conductor::default();
        self.tell(|_| format!("all that is left is on disk; {lost} appends are lost"));
        self.start(rng)
    }

    fn start(&mut self, rng: &mut Rng) -> Result<(), Broken> {
        for _ in 0..ROUNDS {
            self.world.injector.has_fired();
            match self.world.start() {
                Ok(()) => return Ok(()),
                Err(error) if self.world.injector.has_fired() => {
                    self.tell(|_| format!("it cannot start: {error}"));
                    self.world.stop(CrashOf::Process, rng);
                }
                Err(error) => return Err(format!("the process cannot start: {error}")),
            }
        }
        Err("the process never starts".to_owned())
    }

    fn fault(&mut self, fault: Fault, rng: &mut Rng) -> Result<(), Broken> {
        match fault {
            Fault::Kill => self.crash(CrashOf::Process, rng)?,
            Fault::PowerLoss => self.crash(CrashOf::Machine, rng)?,
            Fault::TaskLost | Fault::Zombie | Fault::StoreLost => self.move_task(fault, rng)?,
            Fault::Append(fate, ahead) => self.world.injector.arm_append(fate, ahead),
            Fault::Store(fate, ahead) => self.world.injector.arm_store(fate, ahead),
            Fault::DiskFull(operations) => self.world.injector.fill_disk(operations),
            Fault::Away(steps) => {
                let topics = self.world.log.all();
                self.away.insert(rng.pick(&topics), self.step + steps);
            }
            Fault::Duplicate => {
                let topics = self.world.log.all();
                let id = rng.pick(&topics);
                if let Some(head) = self.world.log.repeat(id, rng) {
                    self.count("batches repeated", 1);
                    self.tell(|_| {
                        format!("{id}-{}: {:?} {} again", head.partition, head.producer, head.first_seq)
                    });
                }
            }
            Fault::Outage(minutes) => self.world.advance(u64::from(minutes) * 60_000),
            Fault::Rewind { back, from, other_rules } => {
                self.world.injector.has_fired();
                let result = generations::rewind(&mut self.world, back, from, other_rules);
                if let Some(Some(said)) = self.survive(result)? {
                    self.count("generations begun", 1);
                    self.tell(|_| said);
                }
            }
            Fault::Promote => {
                self.conductor.promote(&self.world);
            }
            Fault::Drop => {
                if let Some(id) = generations::candidate(&self.world) {
                    self.world.injector.has_fired();
                    let result = generations::drop_candidate(&mut self.world, id);
                    self.survive(result)?;
                }
            }
        }
        Ok(())
    }

    /// A task that folds is opened again while the others go on.
    fn move_task(&mut self, fault: Fault, rng: &mut Rng) -> Result<(), Broken> {
        let folding: Vec<usize> = (0..self.world.tasks.len())
            .filter(|at| self.world.tasks[*at].status().task.stage.folds())
            .collect();
        let at = folding[rng.at(folding.len())];
        let task = self.world.tasks[at].status().task;
        let store = self.world.dir.store(task);
        self.tell(|_| format!("{task} is opened again"));
        self.world
            .disk
            .part(&store, CrashOf::Process, |least, most| rng.between(least as u64, most as u64) as usize);
        if fault == Fault::StoreLost {
            std::fs::remove_dir_all(&store).unwrap();
        }
        if fault != Fault::Zombie {
            self.world.rests.retain(|(t, _)| *t != task);
        }
        let stage = weir_pipeline::flow::FLOW.iter().find(|s| s.id == task.stage).unwrap();
        self.world.injector.has_fired();
        match self.world.open_task(stage, task) {
            Ok(new) => {
                let old = std::mem::replace(&mut self.world.tasks[at], new);
                if fault == Fault::Zombie {
                    self.world.zombies.push(old);
                }
                self.world.follow_line();
                Ok(())
            }
            Err(error) => self.survive::<()>(Err(error)).map(drop),
        }
    }

    /// Until nothing is left to do, and two minutes more.
    fn settle(&mut self) -> Result<(), Broken> {
        let mut done_at = None;
        for _ in 0..ROUNDS {
            self.step += 1;
            let mut rng = Rng::new(self.options.seed, 5 << 32 | u64::from(self.step));
            #[cfg(feature = "sabotage")]
            weir_state::sabotage::set_clock(self.world.now_ms());
            self.outside(&mut rng)?;
            self.conduct()?;
            self.world.log.sync_all();
            while !self.world.rests.is_empty() {
                self.rest(&mut rng)?;
            }
            let mut worked = false;
            for at in 0..self.world.tasks.len() {
                worked |= self.world.tasks[at].need() != Need::Nothing;
                self.work(at)?;
            }
            for _ in 0..self.world.zombies.len() {
                self.zombie(&mut rng)?;
            }
            if worked {
                continue;
            }
            if self.is_done() {
                let at = *done_at.get_or_insert(self.world.now_ms());
                if self.world.now_ms() > at + 130_000 {
                    self.world.zombies.clear();
                    return Ok(());
                }
            }
            self.world.advance(1_000);
        }
        let lags: Vec<String> = self
            .world
            .tasks
            .iter()
            .map(|t| (t.status(), t.need()))
            .map(|(s, n)| {
                format!("{} at {} of {:?}, tick {}, {n:?}", s.task, s.position(), s.end(), s.last_tick())
            })
            .collect();
        Err(format!("no end after the last fault: {}", lags.join("; ")))
    }

    fn is_done(&self) -> bool {
        use std::sync::atomic::Ordering::Acquire;
        let newest = self.world.sources.collect.last_tick.load(Acquire);
        let folded = |t: &dyn Work| t.status().task.stage.is_source() || t.status().last_tick() == newest;
        self.clients.is_done(&self.world)
            && self.world.registry.unsettled().is_empty()
            && self.world.tasks.iter().all(|t| t.need() == Need::Nothing && folded(&**t))
    }
}

fn name_of(need: Need) -> &'static str {
    match need {
        Need::Nothing => "nothing to do",
        Need::Turn(_) => "folds and appends",
        Need::Commit => "commits",
        Need::Checkpoint => "copies its store",
    }
}
