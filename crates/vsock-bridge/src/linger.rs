//! Staying awake for what comes next. To sleep and be woken takes tens of microseconds, on a virtual machine more: longer than the
//! answer to a small request needs. So after a turn in which little was moved the poller looks for a short time whether
//! there is more before it sleeps, as long as that pays: it begins when events have kept coming right after one another, and ends
//! when they do not. Bulk transfers, whose turns move much, never make it wait.

use crate::state::State;
use std::time::{Duration, Instant};

/// So many bytes of a stream count as a frame.
pub const STREAM_UNIT: usize = 2048;
/// What a turn may have moved, in frames, for its answer to be worth waiting for.
const LIGHT: usize = 8;
/// Evidence that waiting pays: it is done from `WORTH` on; more than `SURE` is not kept.
const WORTH: i32 = 8;
const SURE: i32 = 16;
/// What a wait in vain takes away: four in five must find something.
const VAIN: i32 = 4;

#[derive(Default)]
pub struct Linger {
    moved: usize,
    evidence: i32,
    /// When the poller went to sleep after a light turn.
    asleep: Option<Instant>,
    /// How long it waits at most.
    patience: Duration,
}

impl Linger {
    pub fn moved(&mut self, units: usize) {
        self.moved += units;
    }

    /// The poller was woken.
    pub fn woken(&mut self) {
        let Some(since) = self.asleep.take() else { return };
        self.judge(if since.elapsed() <= self.patience { 1 } else { -1 });
    }

    fn judge(&mut self, by: i32) {
        self.evidence = (self.evidence + by).clamp(0, SURE);
    }
}

impl State {
    /// As `dispatch`, and where nothing happened, waits for at most `micros` if that has paid lately.
    pub fn dispatch_or_linger(&mut self, micros: i32) -> usize {
        let count = self.dispatch();
        if count > 0 || micros <= 0 {
            return count;
        }
        if std::mem::take(&mut self.linger.moved) > LIGHT {
            return 0;
        }
        self.linger.patience = Duration::from_micros(micros as u64);
        let start = Instant::now();
        let mut now = start;
        if self.linger.evidence >= WORTH {
            while now - start < self.linger.patience {
                let count = self.dispatch();
                if count > 0 {
                    self.linger.judge(1);
                    return count;
                }
                std::hint::spin_loop();
                now = Instant::now();
            }
            self.linger.judge(-VAIN);
        }
        self.linger.asleep = Some(now);
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begins_when_events_follow_one_another_and_ends_when_they_do_not() {
        let mut linger = Linger { patience: Duration::from_secs(3600), ..Linger::default() };
        for _ in 0..2 * SURE {
            linger.asleep = Some(Instant::now());
            linger.woken();
        }
        assert_eq!(linger.evidence, SURE);
        linger.patience = Duration::ZERO;
        for _ in 0..2 * SURE {
            linger.asleep = Some(Instant::now() - Duration::from_millis(1));
            linger.woken();
        }
        assert_eq!(linger.evidence, 0);
        linger.woken();
        assert_eq!(linger.evidence, 0);
    }
}
