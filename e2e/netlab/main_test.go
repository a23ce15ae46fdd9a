package netlab

import (
	"strings"
	"testing"
)

func TestShards(t *testing.T) {
	for _, bad := range []string{"1", "0/2", "3/2", "a/b", "1/2/3", "1/2x", "/"} {
		if s, err := parseShard(bad); err == nil || !strings.Contains(err.Error(), "1/2") {
			t.Errorf("%q: %v, %v", bad, s, err)
		}
	}
	tests, err := listTests()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		in := 0
		for _, text := range []string{"1/3", "2/3", "3/3"} {
			s, err := parseShard(text)
			if err != nil {
				t.Fatal(err)
			}
			if s.has(test) {
				in++
			}
		}
		if whole, _ := parseShard(""); in != 1 || !whole.has(test) {
			t.Errorf("%s is in %d of 3 shards", test, in)
		}
	}
}

// skipped is a test that may be skipped.
type skipped struct {
	testing.TB
	why string
}

func (s *skipped) Helper()                       { s.TB.Helper() }
func (s *skipped) Skipf(format string, _ ...any) { s.why = format }

func TestEngineIndependent(t *testing.T) {
	for name, c := range map[string]struct {
		engine, engines string
		skipped, wrong  bool
	}{
		"alone":            {"netem", "", false, false},
		"the first":        {"nfqueue", "nfqueue netem", false, false},
		"the second":       {"netem", "nfqueue netem", true, false},
		"none of them":     {"netem", "nfqueue", true, true},
		"no engine at all": {"", "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(envEngine, c.engine)
			t.Setenv(envEngines, c.engines)
			s := &skipped{TB: t}
			EngineIndependent(s)
			if (s.why != "") != c.skipped {
				t.Errorf("skipped %t: %q", s.why != "", s.why)
			}
			if err := checkEngines(); (err != nil) != c.wrong {
				t.Errorf("checkEngines: %v", err)
			}
		})
	}
}

func TestMachines(t *testing.T) {
	for _, name := range []string{"", "native", "uml", "qemu"} {
		t.Setenv(envMachine, name)
		m := ThisMachine()
		if name != "" && m.Name != name || m.Guest != (name == "uml" || name == "qemu") {
			t.Errorf("%q is %+v", name, m)
		}
	}
	if m, err := machine("QEMU"); err == nil || !strings.Contains(err.Error(), "want native, uml or qemu") {
		t.Errorf("QEMU is %+v, %v", m, err)
	}
}
