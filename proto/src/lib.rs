//! The vocabulary of Weir: records, batches, money, ids, time and provenance.
//!
//! Everything that is written to a topic is defined here, byte by byte, next to the code that reads
//! it. The crate knows nothing of stores, logs or operators.

mod adjustment;
mod amount;
mod batch;
mod buffer;
mod bytes;
mod charge;
mod command;
mod dropped;
mod event;
pub mod exchange;
mod ids;
mod kinds;
mod letter;
mod money;
mod notice;
mod provenance;
mod record;
pub mod rpc;
mod takeover;
mod time;

pub use adjustment::{Adjustment, AdjustmentKind, ChargeRef};
pub use amount::{Amount, Own, Reckon, Tender};
pub use batch::{Batch, BatchBuilder, BatchCursor, BatchError, BatchRecord};
pub use buffer::Buffer;
pub use charge::{Charge, Crossings, EntryKind, Outcome, RefuseReason};
pub use command::{Answer, Command};
pub use dropped::{DropReason, Dropped};
pub use event::{Event, NewEvent, Origin};
pub use ids::{Guid, ip_key, pair_key, route_bytes, route_id, user_key};
pub use kinds::{Billing, EventKind};
pub use letter::{Fate, Letter, MessageId};
pub use money::{AmountError, Currency, MoneyError, Nanos};
pub use notice::{Notice, NoticeKind};
pub use provenance::{Producer, Provenance, StageId, TaskId, Topic, TopicId};
pub use record::{Record, RecordError};
pub use takeover::Takeover;
pub use time::{Minute, TimeError};
