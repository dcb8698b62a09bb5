//! What an event is, and how it is paid for.

use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// The user clicked the ad.
    Click = 0,
    /// The user saw the ad.
    Impression = 1,
    /// The user did, after a click, what the advertiser wants: signed up, installed the app.
    Action = 2,
    /// The user bought something after a click.
    Sale = 3,
    /// A sale was reversed, in part or whole.
    SaleReversal = 4,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 5] = [
        EventKind::Click,
        EventKind::Impression,
        EventKind::Action,
        EventKind::Sale,
        EventKind::SaleReversal,
    ];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Click => "click",
            EventKind::Impression => "impression",
            EventKind::Action => "action",
            EventKind::Sale => "sale",
            EventKind::SaleReversal => "sale_reversal",
        }
    }

    /// Whether it must name the event that it comes from: an action or a sale its click, a reversal its
    /// sale.
    pub fn has_origin(self) -> bool {
        !matches!(self, EventKind::Click | EventKind::Impression)
    }
}

/// What the advertiser pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Billing {
    /// Per click: the bid.
    Cpc = 0,
    /// Per thousand impressions: a thousandth of the bid for each.
    Cpm = 1,
    /// Per action: a fixed price.
    Cpa = 2,
    /// Per sale: a share of its amount.
    Cps = 3,
    /// By time: a contract for a slot, accrued per minute.
    Cpt = 4,
    /// By time: a contract for a slot, accrued per day.
    Cpd = 5,
}

impl Billing {
    /// Every model.
    pub const ALL: [Billing; 6] =
        [Billing::Cpc, Billing::Cpm, Billing::Cpa, Billing::Cps, Billing::Cpt, Billing::Cpd];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Billing::Cpc => "cpc",
            Billing::Cpm => "cpm",
            Billing::Cpa => "cpa",
            Billing::Cps => "cps",
            Billing::Cpt => "cpt",
            Billing::Cpd => "cpd",
        }
    }

    /// The model of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|b| b.name() == name)
    }

    /// The model of a code on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|b| *b as u8 == code)
    }
}
