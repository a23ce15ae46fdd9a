package agent

import (
	"errors"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	works := func() error { return nil }
	missing := func() error { return errors.New("kernel has no sch_netem") }
	for name, c := range map[string]struct {
		want            string
		netem, nfqueue  func() error
		engine, because string
	}{
		"auto takes the first that works":        {EngineAuto, works, works, EngineNetem, "works"},
		"auto falls back and says why":           {EngineAuto, missing, works, EngineNFQueue, "no sch_netem"},
		"auto without any":                       {EngineAuto, missing, missing, engineNone, "no engine works"},
		"a named engine":                         {EngineNFQueue, works, works, EngineNFQueue, "--engine=nfqueue"},
		"a named engine is never replaced":       {EngineNetem, missing, works, engineNone, "no sch_netem"},
		"a named engine whose other half is bad": {EngineNFQueue, missing, works, EngineNFQueue, "--engine=nfqueue"},
	} {
		t.Run(name, func(t *testing.T) {
			engines := map[string]*fakeEngine{EngineNetem: {}, EngineNFQueue: {}}
			open := func(name string) func() (engine, error) {
				return func() (engine, error) { return engines[name], nil }
			}
			got := choose(c.want, []candidate{
				{EngineNetem, c.netem, open(EngineNetem)},
				{EngineNFQueue, c.nfqueue, open(EngineNFQueue)},
			})
			if got.name != c.engine || !strings.Contains(got.reason, c.because) {
				t.Errorf("chose %s because %q, want %s because of %q", got.name, got.reason, c.engine, c.because)
			}
			// What any other engine left is cleared, also when it does not work
			// here any more; when none works, that goes for both.
			for name, e := range engines {
				if cleared := e.cleared == 1; cleared != (name != got.name) {
					t.Errorf("%s: cleared %d times", name, e.cleared)
				}
			}
		})
	}
}

func TestChooseSkipsAnEngineThatDoesNotOpen(t *testing.T) {
	works := func() error { return nil }
	second := &fakeEngine{}
	got := choose(EngineAuto, []candidate{
		{EngineNetem, works, func() (engine, error) { return nil, errors.New("no luck") }},
		{EngineNFQueue, works, func() (engine, error) { return second, nil }},
	})
	if got.name != EngineNFQueue || !strings.Contains(got.reason, "no luck") {
		t.Errorf("chose %s because %q", got.name, got.reason)
	}
}

func TestOptionsNameFlagValueAndWhatIsAccepted(t *testing.T) {
	good := Options{Listen: ":2332", Engine: EngineAuto, NodeIP: "10.0.0.1, fd00::1", ProbePorts: "4000,10080,4000"}
	p, err := good.parse()
	if err != nil || p.controlPort != 2332 || len(p.nodeAddrs) != 2 || len(p.probePorts) != 2 {
		t.Fatalf("parse of good options: %+v, %v", p, err)
	}
	for flag, bad := range map[string]Options{
		"--listen=":       {Engine: EngineAuto},
		"--listen=\":0\"": {Listen: ":0", Engine: EngineAuto},
		"--listen=\"x\"":  {Listen: "x", Engine: EngineAuto},
		"--engine=\"tc\"": {Listen: ":2332", Engine: "tc"},
		"--node-ip=\"n\"": {Listen: ":2332", Engine: EngineAuto, NodeIP: "n"},
		"--probe-ports=":  {Listen: ":2332", Engine: EngineAuto, ProbePorts: "80,"},
		"\"65536\"":       {Listen: ":2332", Engine: EngineAuto, ProbePorts: "65536"},
	} {
		if _, err := bad.parse(); err == nil || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), "want") {
			t.Errorf("%s: error %v", flag, err)
		}
	}
	_, err = Options{Listen: "x", Engine: "y", NodeIP: "z"}.parse()
	if err == nil || len(strings.Split(err.Error(), "\n")) != 3 {
		t.Errorf("three bad options at once: %v", err)
	}
}
