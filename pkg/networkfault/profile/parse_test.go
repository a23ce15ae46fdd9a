package profile

import "testing"

func TestParse(t *testing.T) {
	if _, err := parse(file); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"- {name: a, zone: [a, b]}", "- {name: a, name: b}", "- name: [a]", "a: b"} {
		if all, err := parse([]byte(text)); err == nil {
			t.Errorf("%s is %v", text, all)
		}
	}
}
