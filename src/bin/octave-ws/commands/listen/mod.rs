//! `listen` and `capture`: from the settings to lines of output.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use octave_ws::{
    Client, Config, Event, Gap, Loss, Positions, Stop, Stream, Traffic, Update, clock,
};

use crate::exit::{End, Failure, INCOMPLETE, OUTPUT};
use crate::format::Format;
use crate::output::Output;
use crate::output::folder::Folder;
use crate::output::record::{Lines, Record};
use crate::settings::{Destination, ListenSettings};
use crate::signals::Hangups;
use crate::status::file;
use crate::status::progress::Progress;
use crate::status::run::RunStatus;
use crate::status::stderr;
use crate::status::systemd::Notify;
use crate::wait::{self, WaitEnded};
use kept::Kept;
use refusals::Refusals;
use shown::Shown;
use unanswered::Unanswered;

mod finish;
mod gaps;
mod kept;
mod receive;
mod refusals;
mod reload;
mod shown;
mod unanswered;

/// Timeouts for leaving the service: at a regular end, and after a stop, which has two seconds for
/// everything.
const LEAVE: Duration = Duration::from_millis(1500);
const LEAVE_STOPPED: Duration = Duration::from_millis(1700);

/// Writes events until there were enough of them, time is up, or it is stopped.
pub(crate) fn listen(
    config: Config,
    settings: &ListenSettings,
    stop: &Stop,
    hangups: Hangups,
) -> Result<(), Failure> {
    let opened = Kept::open(config, settings);
    let end = opened.and_then(|(config, kept)| {
        let mut run = Run::begin(settings, stop, hangups)?;
        run.kept = kept;
        let end = run.go(config.stop(stop.clone()));
        let end = run.finish(end);
        run.end_status_file(&end);
        if end.is_err() {
            let (lost, _) = run.lost();
            let left = run.output.leave(run.status.summary.events - lost);
            left.as_deref().into_iter().for_each(stderr::warning);
        }
        if end.is_ok() && run.status.was_connected {
            log::info!("closed, events: {}", run.status.summary.events);
        }
        log::debug!("{}", run.traffic);
        end
    });
    settings.outcome(end)
}

impl ListenSettings {
    fn is_overdue(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Returns the outcome of a run: which ends are failures depends on the command.
    pub(crate) fn outcome(&self, end: Result<(), End>) -> Result<(), Failure> {
        match end {
            Err(End::Failed(failure)) => Err(failure),
            Err(End::Stopped) if self.is_capture => Err(Failure::stopped()),
            Err(End::Unread(WaitEnded::Stopped)) => {
                let message = "stopped: output: not all lines were read";
                Err(Failure::new(INCOMPLETE, message))
            }
            Err(End::Unread(WaitEnded::TimedOut)) => {
                let message = "timeout: output: not all lines were read in time";
                Err(Failure::new(INCOMPLETE, message))
            }
            Err(End::Unread(WaitEnded::ReaderStalled)) => {
                let message = "output: the reader stopped reading, and lines are left";
                Err(Failure::new(INCOMPLETE, message))
            }
            _ => Ok(()),
        }
    }
}

struct Run<'a> {
    output: Output,
    lines: Lines,
    /// The files of the streams, in place of the one output.
    folder: Option<Folder<'a>>,
    stop: &'a Stop,
    hangups: Hangups,
    settings: &'a ListenSettings,
    status: RunStatus,
    /// The streams of the last reload.
    streams: Vec<Stream>,
    unanswered: Unanswered,
    /// Number of subscriptions that are yet to be logged, together.
    untold: usize,
    /// The streams that have a record on this connection before the end of the gap: those that were
    /// added by a reload.
    recorded: BTreeSet<Stream>,
    /// Whether there is a record of the loss that is not over yet.
    is_loss_recorded: bool,
    /// Whether there are records of the streams that are subscribed again.
    is_restored: bool,
    /// Number of gaps of streams since the last loss.
    stream_gaps: usize,
    refusals: Refusals,
    /// Number of events that arrived and cannot be written.
    unread: u64,
    progress: Option<Progress<'a>>,
    notify: Option<Notify>,
    shown: Option<Shown>,
    traffic: Traffic,
    /// Number of skipped messages by reason. The first of each has been warned of.
    skipped: BTreeMap<String, u64>,
    /// The file of positions, if there is one.
    kept: Option<Kept>,
    /// The positions of all that has been printed, at the end.
    positions: Option<Positions>,
}

impl<'a> Run<'a> {
    fn begin(settings: &'a ListenSettings, stop: &'a Stop, hangups: Hangups) -> Result<Self, End> {
        if let (Some(_), Destination::File(path)) = (settings.rotation, &settings.output) {
            Output::resume(path)?;
        }
        let mut output = match &settings.output {
            Destination::Stdout => Output::stdout(),
            Destination::File(path) => Output::appended(path, &settings.format),
            Destination::WholeFile(path) => Output::whole_file(path),
            Destination::Folder(_) => Output::nowhere(),
        }?;
        let folder = match &settings.output {
            Destination::Folder(path) => Some(Folder::new(path.into(), settings)?),
            _ => None,
        };
        let format = match folder {
            Some(_) => Format::Nothing,
            None => settings.format.apart(),
        };
        let mut lines = Lines::new(format, settings);
        if let Some(rotation) = settings.rotation.filter(|_| folder.is_none()) {
            output.set_rotation(rotation, lines.header())?;
        }
        output.begin(&mut lines)?;
        let is_shown = settings.show_progress && output.is_file();
        let streams = &settings.streams;
        let mut run = Self {
            output,
            notify: Notify::begin(),
            shown: Shown::begin(settings),
            progress: is_shown.then(|| Progress::new(settings)),
            lines,
            folder,
            stop,
            hangups,
            settings,
            status: RunStatus::new(streams.len()),
            unanswered: Unanswered::of(streams),
            untold: 0,
            streams: streams.clone(),
            recorded: BTreeSet::new(),
            is_loss_recorded: false,
            is_restored: false,
            stream_gaps: 0,
            refusals: Refusals::default(),
            unread: 0,
            traffic: Traffic::default(),
            skipped: BTreeMap::new(),
            kept: None,
            positions: None,
        };
        run.status.summary.filled = settings.is_filled.then_some(0);
        run.begin_status_file()?;
        Ok(run)
    }

    fn go(&mut self, config: Config) -> Result<(), End> {
        let mut client = self.client(config)?;
        self.traffic = client.traffic();
        // However long the service is away: a boot, an upgrade or a reload is not to wait for it.
        if let Some(notify) = &self.notify {
            notify.ready();
        }
        // A share of the streams may hold none.
        if self.streams.is_empty() {
            log::info!("without a stream, there is nothing to do");
            return Ok(());
        }
        let end = self.receive(&mut client);
        let end = end.and_then(|()| self.refused(&client, true));
        self.leave(end, client)
    }

    /// Returns a client that is not connected yet.
    fn client(&self, mut config: Config) -> Result<Client, End> {
        let notify = self.notify.as_ref().and_then(Notify::feeder);
        let file = self.shown.as_ref().map(|shown| shown.file.clone());
        let every = notify.as_ref().map(|(every, _)| *every);
        if let Some(every) = every
            .into_iter()
            .chain(file.as_ref().map(|_| file::EVERY))
            .min()
        {
            config = config.watchdog(every, move || {
                if let Some((_, feed)) = &notify {
                    feed();
                }
                if let Some(file) = &file {
                    file.refresh();
                }
            });
        }
        let mut client = Client::new(&config)?;
        if self.settings.can_reload() {
            let hangups = self.hangups.as_fd().try_clone_to_owned();
            client.watch(Some(hangups.map_err(Failure::signals)?));
        }
        client.watch_hangup(self.reader()?);
        let deadline = self.settings.deadline;
        client.set_fill_limit(deadline.map(|at| at.saturating_duration_since(Instant::now())));
        Ok(client)
    }

    fn reader(&self) -> Result<Option<OwnedFd>, Failure> {
        self.output.reader().map_err(Failure::signals)
    }

    /// Takes leave of the service. What comes in before it has unsubscribed is printed, too.
    fn leave(&mut self, end: Result<(), End>, mut client: Client) -> Result<(), End> {
        // The next run reads it, and the events that wait for it.
        if !self.is_continued() && !self.has_enough() {
            client.give_up_history();
        }
        self.progress = None;
        if let Some(notify) = &self.notify {
            notify.stopping();
        }
        self.stop_status_file();
        wait::set_end(Some(Instant::now()));
        let mut loss = client.loss().cloned();
        let mut printed = Ok(());
        // A loss that ended the run has no record yet.
        let is_untold = loss.is_some() && !self.is_loss_recorded;
        // Where the events have come that were asked for, nothing after them is missing.
        let has_enough = self.has_enough();
        let is_written = can_be_written(&end);
        let mut positions = client.positions().cloned();
        let closed = client.close_within(self.time_to_leave(&end), |next| match next {
            Update::Event(event) if is_written && printed.is_ok() && !self.has_enough() => {
                printed = self.print(&event);
                if let Some(positions) = &mut positions {
                    positions.receive(&event);
                }
            }
            Update::Gap(gap) if is_written && printed.is_ok() => {
                printed = match gap.stream {
                    Some(_) => self.gap_of_stream(&gap),
                    None => self.gap("connected again", &gap),
                };
            }
            Update::Filled(filled) if is_written && printed.is_ok() => {
                printed = self.filled(&filled);
            }
            Update::Handover(handover) if is_written && printed.is_ok() => {
                printed = self.write(&Record::Handover(&handover));
            }
            Update::Event(_) if !is_written || printed.is_err() => self.unread += 1,
            Update::Lost(last) if !has_enough => loss = Some(last),
            _ => {}
        });
        self.positions = positions;
        let is_lost = loss.is_some();
        if let Some(loss) = loss.as_ref().filter(|_| is_untold && is_written)
            && printed.is_ok()
        {
            printed = self.write(&Record::Lost(loss));
        }
        if let Some(Loss { from, reason, .. }) = loss {
            let (how, to) = ("not connected at the end", clock::now());
            // The clock may have been set back since.
            let gap = Gap::new(from.min(to), to, reason);
            if self.is_continued() {
                log::info!("events may be missing at the end: the next run begins there");
            } else if is_written && printed.is_ok() {
                printed = self.gap(how, &gap);
            } else {
                self.tell_gap(how, &gap);
            }
        }
        self.tell_other_gaps();
        match (end, printed, closed) {
            (Ok(()) | Err(End::Stopped), Err(end), _) => Err(end),
            (Ok(()), Ok(()), Err(error)) if is_lost && self.settings.is_capture => {
                let error = Failure::from(error);
                let message = format!("no connection at the end of the run: {error}");
                Err(Failure::new(INCOMPLETE, message).into())
            }
            (end, _, closed) => {
                if let (Ok(()) | Err(End::Stopped), Err(error), false) = (&end, closed, is_lost) {
                    log::warn!("{}", Failure::from(error));
                }
                end
            }
        }
    }

    /// Returns the timeout for leaving the service. A run that needs its connection at its end
    /// checks it.
    fn time_to_leave(&self, end: &Result<(), End>) -> Duration {
        let most = match end {
            Ok(()) if !self.has_enough() => Duration::MAX,
            Err(End::Stopped) => wait::stopped().min(LEAVE_STOPPED),
            // Later events would not be read.
            Err(End::Unread(_) | End::Overdue(_)) => Duration::ZERO,
            _ => LEAVE,
        };
        let deadline = self.settings.deadline;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        left.map_or(most, |left| most.min(left))
    }

    /// Returns whether there are as many events as were asked for.
    fn has_enough(&self) -> bool {
        self.settings.count == Some(self.status.summary.events)
    }

    fn write(&mut self, record: &Record<'_>) -> Result<(), End> {
        match self.lines.line(record) {
            Some(line) => self.output.write(line),
            None => Ok(()),
        }
    }

    fn print(&mut self, event: &Event) -> Result<(), End> {
        let length = event.message().len() as u64;
        // Before it is written: what is lost of it is taken off.
        self.status.summary.events += 1;
        if let Some(filled) = &mut self.status.summary.filled {
            *filled += u64::from(event.is_from_history());
        }
        self.status.summary.bytes += length;
        if let Some(line) = self.lines.line(&Record::Event(event)) {
            self.output.write_event(line, length)?;
        } else if let Some(folder) = &mut self.folder {
            folder.write(event)?;
        }
        self.status.event();
        Ok(())
    }

    /// Writes what has been held back.
    fn flush(&mut self) -> Result<(), End> {
        self.output.flush()?;
        self.folder.as_mut().map_or(Ok(()), Folder::flush)
    }

    /// Returns the number of events that did not reach their output, and the total length of their
    /// messages.
    fn lost(&self) -> (u64, u64) {
        let folder = self.folder.as_ref().map(Folder::lost).unwrap_or_default();
        let output = self.output.lost();
        (output.0 + folder.0, output.1 + folder.1)
    }
}

/// Returns whether more lines may be written: not behind lines that could not be.
fn can_be_written(end: &Result<(), End>) -> bool {
    match end {
        Err(End::ReaderGone | End::Unread(_)) => false,
        Err(End::Failed(failure)) => failure.code != OUTPUT,
        _ => true,
    }
}
