//! `history`: past events, by the REST API.

use std::time::Instant;

use octave_ws::{Config, Error, ErrorKind, Gap, History, Positions, Update};

use crate::exit::{End, Failure, INCOMPLETE};
use crate::output::Output;
use crate::output::record::{Lines, Record, Summary};
use crate::output::state::State;
use crate::settings::{Destination, HistorySettings, ListenSettings};
use crate::status::stderr;

/// Writes the past events of streams.
pub(crate) fn history(config: &Config, settings: &HistorySettings) -> Result<(), Failure> {
    let end = Run::begin(config, &settings.run).and_then(|mut run| {
        let end = run.go(settings);
        let end = run.finish(end);
        if end.is_err() {
            let (lost, _) = run.output.lost();
            let left = run.output.leave(run.summary.events - lost);
            left.as_deref().into_iter().for_each(stderr::warning);
        }
        end
    });
    settings.run.outcome(end)
}

struct Run<'a> {
    settings: &'a ListenSettings,
    output: Output,
    lines: Lines,
    summary: Summary,
    /// The first failure of a stream.
    failure: Option<Failure>,
    config: Config,
    /// The file of positions, if there is one.
    state: Option<State>,
    /// The positions behind what is printed, once anything is read.
    positions: Option<Positions>,
}

impl<'a> Run<'a> {
    fn begin(config: &Config, settings: &'a ListenSettings) -> Result<Self, End> {
        let mut config = config.clone();
        let mut state = None;
        if let Some(path) = &settings.state {
            let (opened, positions) = State::open(path, &config)?;
            state = Some(opened);
            config = config.positions(positions);
        }
        let mut output = match &settings.output {
            Destination::WholeFile(path) => Output::whole_file(path),
            _ => Output::stdout(),
        }?;
        let mut lines = Lines::new(settings.format.apart(), settings);
        output.begin(&mut lines)?;
        Ok(Self {
            settings,
            output,
            lines,
            summary: Summary::default(),
            failure: None,
            config,
            state,
            positions: None,
        })
    }

    fn go(&mut self, settings: &HistorySettings) -> Result<(), End> {
        let mut history = History::new(&self.config)?;
        history.set_deadline(self.settings.deadline);
        for stream in &self.settings.streams {
            let asked = history.request(stream, settings.since, settings.until);
            asked.map_err(|error| self.end_of(error))?;
        }
        let end = self.read(&mut history);
        self.positions = Some(history.positions().clone());
        let written = self.write_summary(&history, &end);
        end.and(written)
    }

    fn read(&mut self, history: &mut History) -> Result<(), End> {
        while self.settings.count != Some(self.summary.events) {
            match history.next() {
                Ok(Some(Update::Event(event))) => {
                    let length = event.message().len() as u64;
                    self.summary.events += 1;
                    self.summary.bytes += length;
                    if let Some(line) = self.lines.line(&Record::Event(&event)) {
                        self.output.write_event(line, length)?;
                    }
                }
                Ok(Some(Update::Gap(gap))) => self.tell_gap(&gap)?,
                Ok(Some(Update::Filled(filled))) => {
                    log::info!("{}: past events: {}", filled.stream, filled.events);
                    self.output.flush()?;
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) if self.is_of_one(&error) => {
                    // The first one ends the run.
                    let failure = Failure::from(error);
                    if self.failure.is_some() {
                        log::warn!("{failure}");
                    }
                    self.failure.get_or_insert(failure);
                }
                Err(error) => return Err(self.end_of(error)),
            }
        }
        match self.failure.take() {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// Returns whether an error is that of one stream, after which the others are read.
    fn is_of_one(&self, error: &Error) -> bool {
        let is_more = self.settings.streams.len() > 1;
        is_more && error.stream().is_some() && error.status() == Some(404)
    }

    fn end_of(&self, error: Error) -> End {
        let is_overdue = self
            .settings
            .deadline
            .is_some_and(|at| at <= Instant::now());
        match error.kind() {
            ErrorKind::Stopped => End::Stopped,
            _ if is_overdue => End::Overdue(Some(Failure::from(error).to_string())),
            _ => error.into(),
        }
    }

    fn tell_gap(&mut self, gap: &Gap) -> Result<(), End> {
        self.summary.gaps += 1;
        self.lines
            .line(&Record::Gap(gap))
            .map_or(Ok(()), |line| self.output.write(line))?;
        self.output.flush()?;
        stderr::gap(gap);
        Ok(())
    }

    fn write_summary(&mut self, history: &History, end: &Result<(), End>) -> Result<(), End> {
        self.output.flush()?;
        self.summary.exit = match end {
            Ok(()) => 0,
            Err(End::Failed(failure)) => failure.code,
            Err(_) => INCOMPLETE,
        };
        let traffic = history.traffic();
        let record = Record::Summary(self.summary, &traffic);
        let line = self.lines.line(&record);
        line.map_or(Ok(()), |line| self.output.write(line))
    }

    /// Keeps the positions of a run that did not read all: what is written to standard output stays, unlike
    /// a file that is not whole.
    fn keep_written(&mut self) -> Result<(), End> {
        let is_whole_file = matches!(self.settings.output, Destination::WholeFile(_));
        match (&mut self.state, &self.positions) {
            (Some(state), Some(positions)) if !is_whole_file && self.output.lost().0 == 0 => {
                Ok(state.commit(positions)?)
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, end: Result<(), End>) -> Result<(), End> {
        match end {
            Ok(()) => {
                self.output.flush()?;
                let output = &mut self.output;
                match (&mut self.state, &self.positions) {
                    (Some(state), Some(positions)) => {
                        state.commit_with(positions, || output.finish())
                    }
                    _ => output.finish(),
                }
            }
            Err(End::ReaderGone) => Err(End::ReaderGone),
            Err(End::Overdue(cause)) => {
                self.output.flush()?;
                self.keep_written()?;
                let cause = cause.unwrap_or_else(|| "not done in time".to_owned());
                Err(Failure::new(INCOMPLETE, format!("timeout: {cause}")).into())
            }
            Err(end) => {
                self.output.flush()?;
                self.keep_written()?;
                Err(end)
            }
        }
    }
}
