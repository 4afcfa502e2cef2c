/// What was found damaged: one sentence each, in a bounded number.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    kept: Vec<String>,
    dropped: usize,
}

impl Notes {
    /// How many sentences are kept.
    const MAX: usize = 64;

    /// Adds a sentence; past the bound it is only counted.
    pub(crate) fn push(&mut self, note: String) {
        if self.kept.len() < Self::MAX {
            self.kept.push(note);
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// The sentences, the last of which counts those that were not kept.
    pub(crate) fn into_sentences(mut self) -> Vec<String> {
        if self.dropped > 0 {
            self.kept.push(format!("{} more notes like these are left out", self.dropped));
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_stay_bounded_and_say_how_many_were_left_out() {
        let mut notes = Notes::default();
        for n in 0..100 {
            notes.push(n.to_string());
        }
        let sentences = notes.into_sentences();
        assert_eq!(sentences.len(), 65);
        assert!(sentences[64].starts_with("36 "));
    }
}
