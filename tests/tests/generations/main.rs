//! Going back: rewind, replay, and rules that change.

mod replay;
mod rewind;
mod rewind_live;
mod rules;
