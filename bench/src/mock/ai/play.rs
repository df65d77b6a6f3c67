//! Plays a script as the body of an answer: at its pace, with the twist that was ordered, framed as ordered, and counted in the
//! books event by event.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem};

use bytes::{Bytes, BytesMut};
use futures::stream;
use http::Version;
use hyper::body::Frame;
use tokio::time::{Instant, sleep, sleep_until};

use super::error::Trouble;
use super::failure::{Failure, Voice};
use super::script::{Beat, Part, Words, put_number};
use super::{Scene, of_stream};
use crate::mock::answer::{self, Answer, Payload};
use crate::mock::faults::{FLUSH, Framing, Stage, Twist};
use crate::mock::ledger::{Serves, Tokens};
use crate::mock::sse;
use crate::mock::wire::Conn;

/// The room that a stream's buffer grows by.
const ROOM: usize = 2048;

/// A script with what belongs to its dialect.
pub(super) struct Score {
    pub(super) beats: Vec<Beat>,
    /// What the whole answer costs, and how much of the output its events say.
    pub(super) usage: Tokens,
    pub(super) said: u64,
    /// What an idle connection is kept awake with.
    pub(super) ping: &'static str,
    pub(super) failure: Failure,
}

/// The answer that plays it.
pub(super) fn play(scene: &Scene, score: Score) -> Answer {
    let (twist, framing) = of_stream(scene.orders);
    let is_array = matches!(score.failure.voice, Voice::Element);
    let player = Box::new(Player {
        score,
        beat: 0,
        done: 0,
        events: 0,
        content: 0,
        output: 0,
        twist,
        framing,
        due: Instant::now(),
        interval: scene.orders.sse.map_or(Duration::ZERO, |cadence| cadence.interval),
        began: false,
        corrected: false,
        ended: false,
        buffer: BytesMut::new(),
        collected: BytesMut::new(),
        group: 0,
        dressed: false,
        writes: VecDeque::new(),
        serves: scene.serves.clone(),
        conn: scene.conn.clone(),
        own_stream: scene.upload.version >= Version::HTTP_2,
    });
    let frames = stream::unfold(player, |mut player| async move {
        let frame = player.next().await?;
        Some((frame.map(Frame::data), player))
    });
    if is_array {
        return answer::with_payload(http::StatusCode::OK, "application/json", Payload::Stream(Box::pin(frames)));
    }
    sse::events(Box::pin(frames))
}

struct Player {
    score: Score,
    /// Where in the script, and how often its event was sent.
    beat: usize,
    done: u64,
    events: u64,
    content: u64,
    output: u64,
    twist: Option<(Stage, Twist)>,
    framing: Framing,
    due: Instant,
    interval: Duration,
    /// Whether the prompt is counted, and whether the output is put right.
    began: bool,
    corrected: bool,
    ended: bool,
    buffer: BytesMut,
    /// Events that wait for more, and how many they are.
    collected: BytesMut,
    group: u32,
    dressed: bool,
    writes: VecDeque<Bytes>,
    serves: Serves,
    conn: Arc<Conn>,
    own_stream: bool,
}

/// What a twist comes to.
enum Turn {
    GoOn,
    Send(Bytes),
    Break,
}

impl Player {
    /// The next write; `None` at the end of the body.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            if let Some(bytes) = self.writes.pop_front() {
                self.pause().await;
                return Some(Ok(bytes));
            }
            if self.ended {
                return None;
            }
            let part = self.part();
            let twist = self.twist.filter(|(stage, _)| self.is_at(*stage, part));
            if !self.collected.is_empty() && (twist.is_some() || part.is_none()) {
                self.flush();
                continue;
            }
            let event = match twist {
                Some((_, twist)) => match self.turn(twist).await {
                    Turn::GoOn => continue,
                    Turn::Send(bytes) => bytes,
                    Turn::Break => return Some(Err(io::Error::other("reset on order"))),
                },
                None if part.is_none() => return None,
                None => self.event().await,
            };
            self.write(event);
            if self.ended || twist.is_some() {
                self.flush();
            }
        }
    }

    /// Where the next event stands, past events that are used up.
    fn part(&mut self) -> Option<Part> {
        loop {
            let beat = self.score.beats.get(self.beat)?;
            if self.done < beat.times {
                return Some(beat.part);
            }
            self.beat += 1;
            self.done = 0;
        }
    }

    fn is_at(&self, stage: Stage, next: Option<Part>) -> bool {
        let ends = matches!(next, None | Some(Part::Terminal));
        match stage {
            Stage::Headers => true,
            Stage::Start => next != Some(Part::Opening),
            Stage::After(events) => ends || (next != Some(Part::Opening) && self.content >= events),
            Stage::End => ends,
        }
    }

    /// Waits for the time of the next event and makes it.
    async fn event(&mut self) -> Bytes {
        let is_content = self.score.beats.get(self.beat).is_some_and(|beat| beat.part == Part::Content);
        if is_content {
            if !self.interval.is_zero() {
                sleep_until(self.due).await;
                self.due += self.interval;
            }
            self.content += 1;
        }
        self.fill(None)
    }

    /// The next event of the script, counted; its text is `instead` where that is given.
    fn fill(&mut self, instead: Option<&str>) -> Bytes {
        let event = self.render(instead);
        self.output += self.score.beats.get(self.beat).map_or(0, |beat| beat.tokens);
        self.count(self.beat);
        self.done += 1;
        self.events += 1;
        event
    }

    fn render(&mut self, instead: Option<&str>) -> Bytes {
        let Some(beat) = self.score.beats.get(self.beat) else {
            return Bytes::new();
        };
        let output = self.output + beat.tokens;
        let total = self.score.usage.input + output;
        self.buffer.reserve(ROOM);
        let mut stamp = BytesMut::new();
        let text = match (&beat.words, instead) {
            (_, Some(text)) => text,
            (Words::None, None) => "",
            (Words::Cycle(words), None) => {
                let at = usize::try_from(self.done % (words.len() as u64).max(1)).unwrap_or(0);
                words.get(at).map_or("", |word| word)
            }
            (Words::Stamps, None) => {
                stamp.reserve(32);
                put_number(&mut stamp, self.done);
                stamp.extend_from_slice(b"@");
                put_number(&mut stamp, u64::try_from(jiff::Timestamp::now().as_microsecond()).unwrap_or(0));
                stamp.extend_from_slice(b" ");
                std::str::from_utf8(&stamp).unwrap_or_default()
            }
        };
        beat.form.fill(&mut self.buffer, text, self.events, output, total);
        self.buffer.split().freeze()
    }

    /// Counts an event of the script: the prompt with the first content, the rest of the output with the end.
    fn count(&mut self, at: usize) {
        let Some(beat) = self.score.beats.get(at) else {
            return;
        };
        if beat.part != Part::Opening && !mem::replace(&mut self.began, true) {
            self.serves.add(&Tokens { output: 0, reasoning: 0, ..self.score.usage });
        }
        self.serves.event(beat.tokens);
        if matches!(beat.part, Part::Closing | Part::Terminal) && !mem::replace(&mut self.corrected, true) {
            self.serves.correct(self.score.usage.output, self.score.said);
            self.serves.add(&Tokens { reasoning: self.score.usage.reasoning, ..Tokens::default() });
        }
    }

    /// Puts an event among the writes, in its framing.
    fn write(&mut self, event: Bytes) {
        let event = match self.framing.is_plain() {
            true => event,
            false => self.framing.dress(&event, !mem::replace(&mut self.dressed, true)),
        };
        if self.framing.together == 0 {
            return self.cut(event);
        }
        self.collected.extend_from_slice(&event);
        self.group += 1;
        if self.group >= self.framing.together {
            self.flush();
        }
    }

    /// What was collected becomes a write.
    fn flush(&mut self) {
        self.group = 0;
        if !self.collected.is_empty() {
            let collected = self.collected.split().freeze();
            self.cut(collected);
        }
    }

    fn cut(&mut self, mut bytes: Bytes) {
        let size = usize::try_from(self.framing.split).unwrap_or(usize::MAX);
        while size > 0 && bytes.len() > size {
            self.writes.push_back(bytes.split_to(size));
        }
        self.writes.push_back(bytes);
    }

    /// What parts one write from the one before it, where time does not.
    async fn pause(&self) {
        if !self.framing.gap.is_zero() {
            sleep(self.framing.gap).await;
        } else if self.interval.is_zero() || self.framing.split > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Does what was ordered for this place.
    async fn turn(&mut self, twist: Twist) -> Turn {
        match twist {
            Twist::Ping(interval) => {
                sleep(interval).await;
                return Turn::Send(Bytes::from_static(self.score.ping.as_bytes()));
            }
            Twist::Delay(delay) => {
                sleep(delay).await;
                self.due = Instant::now();
            }
            Twist::Garbage => {
                self.twist = None;
                self.serves.spoil();
                return Turn::Send(Bytes::from_static(self.score.failure.garbage().as_bytes()));
            }
            Twist::Tear => {
                // Half of an event says nothing, so nothing is counted.
                let event = self.render(None);
                self.twist = Some((Stage::Headers, Twist::Close));
                self.serves.spoil();
                return Turn::Send(event.slice(..event.len() / 2));
            }
            Twist::Huge(size) => {
                self.twist = None;
                return self.huge(size).map_or(Turn::GoOn, Turn::Send);
            }
            _ => {
                self.serves.spoil();
                return self.end(twist).await;
            }
        }
        self.twist = None;
        Turn::GoOn
    }

    /// The twists after which nothing more comes.
    async fn end(&mut self, twist: Twist) -> Turn {
        self.ended = true;
        match twist {
            Twist::Error(status) => {
                self.twist = None;
                let text = self.score.failure.text(&Trouble::of_status(status), self.events);
                return Turn::Send(text.into());
            }
            Twist::Finish => {
                self.twist = None;
                return Turn::GoOn;
            }
            Twist::Reset if self.own_stream => {
                sleep(FLUSH).await;
                return Turn::Break;
            }
            Twist::Close | Twist::Reset => {
                sleep(FLUSH).await;
                self.conn.cut(twist == Twist::Reset);
            }
            _ => {}
        }
        std::future::pending().await
    }

    /// An event of content whose text is so long.
    fn huge(&mut self, size: u64) -> Option<Bytes> {
        let at = self.score.beats.iter().position(|beat| !matches!(beat.words, Words::None))?;
        let text = "x".repeat(usize::try_from(size.min(256 << 20)).unwrap_or(0));
        let place = (mem::replace(&mut self.beat, at), mem::take(&mut self.done));
        let event = self.fill(Some(&text));
        (self.beat, self.done) = place;
        self.score.said += 1;
        Some(event)
    }
}
