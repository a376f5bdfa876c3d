//! The box's own page, for the volunteer in the room.
