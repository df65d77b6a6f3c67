//! One member at run time: its state outlives a reload.
