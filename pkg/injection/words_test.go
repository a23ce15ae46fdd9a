package injection

import "testing"

// Every reason is told in words, which no other has.
func TestBecause(t *testing.T) {
	told := map[string]Reason{}
	for _, r := range Reasons() {
		text := r.Because()
		if other, is := told[text]; is || text == string(r) || text == "" {
			t.Errorf("%s is told as %q, and so is %q", r, text, other)
		}
		told[text] = r
	}
}
