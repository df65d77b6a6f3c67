//! Timers that are looked at for every read and write, and hardly ever fire.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::task::coop::unconstrained;
use tokio::time::Sleep;

use crate::clock;

/// A timer whose end moves on all the time. Moving it costs nothing: the timer is set again when it fires too early. Nor does
/// looking at one that is set already and wakes who looks.
#[derive(Default)]
pub struct Alarm(Option<Armed>);

struct Armed {
    timer: Pin<Box<Sleep>>,
    /// Who is woken.
    waker: Waker,
}

impl Alarm {
    /// Ready once it is `end`.
    pub fn poll(&mut self, cx: &mut Context<'_>, end: Instant) -> Poll<()> {
        if let Some(Armed { timer, waker }) = &self.0
            && waker.will_wake(cx.waker())
            && timer.deadline().into_std() <= end
            && !timer.is_elapsed()
        {
            return Poll::Pending;
        }
        let Armed { timer, waker } = self.0.get_or_insert_with(|| Armed {
            timer: Box::pin(tokio::time::sleep_until(end.into())),
            waker: cx.waker().clone(),
        });
        waker.clone_from(cx.waker());
        if timer.deadline().into_std() > end {
            timer.as_mut().reset(end.into());
        }
        // Unconstrained: who used up its share of this turn would be told "pending" by a timer that is not set.
        while pin!(unconstrained(timer.as_mut())).poll(cx).is_ready() {
            if clock::now() >= end {
                return Poll::Ready(());
            }
            timer.as_mut().reset(end.into());
        }
        Poll::Pending
    }
}

/// A deadline that costs one timer, however often it starts anew.
#[derive(Default)]
pub struct Deadline {
    start: Option<Instant>,
    alarm: Alarm,
}

impl Deadline {
    /// Counts from now on, from the next poll.
    pub fn restart(&mut self) {
        self.start = None;
    }

    /// Ready once `limit` has passed since the first poll after a restart.
    pub fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let now = clock::now();
        let end = *self.start.get_or_insert(now) + limit;
        if now >= end {
            return Poll::Ready(());
        }
        self.alarm.poll(cx, end)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn an_alarm_that_is_set_by_who_has_no_share_left_of_this_turn_goes_off() {
        let (mut alarm, mut polled) = (Alarm::default(), false);
        let end = clock::now() + Duration::from_millis(20);
        let rings = poll_fn(|cx| {
            while !std::mem::replace(&mut polled, true) {
                while pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
            }
            alarm.poll(cx, end)
        });
        assert!(tokio::time::timeout(Duration::from_secs(20), rings).await.is_ok());
        assert!(clock::now() >= end);
    }

    #[tokio::test]
    async fn an_alarm_follows_its_end_in_both_directions() {
        let mut alarm = Alarm::default();
        let began = clock::now();
        let later = began + Duration::from_secs(60);
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx, later))).await.is_pending());
        for millis in [20, 40] {
            let end = began + Duration::from_millis(millis);
            poll_fn(|cx| alarm.poll(cx, end)).await;
            assert!(clock::now() >= end);
        }
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx, later))).await.is_pending());
    }
}
