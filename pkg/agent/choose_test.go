package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

type probe = func() (map[fault.Feature]string, error)

func TestChoose(t *testing.T) {
	works := func() (map[fault.Feature]string, error) { return map[fault.Feature]string{}, nil }
	missing := func() (map[fault.Feature]string, error) { return nil, errors.New("kernel has no sch_netem") }
	for name, c := range map[string]struct {
		want            string
		netem, nfqueue  probe
		engine, because string
	}{
		"auto takes the first that works":        {api.EngineAuto, works, works, api.EngineNetem, "works"},
		"auto falls back and says why":           {api.EngineAuto, missing, works, api.EngineNFQueue, "no sch_netem"},
		"auto without any":                       {api.EngineAuto, missing, missing, api.EngineNone, "no engine works"},
		"a named engine":                         {api.EngineNFQueue, works, works, api.EngineNFQueue, "--engine=nfqueue"},
		"a named engine is never replaced":       {api.EngineNetem, missing, works, api.EngineNone, "no sch_netem"},
		"a named engine whose other half is bad": {api.EngineNFQueue, missing, works, api.EngineNFQueue, "--engine=nfqueue"},
	} {
		t.Run(name, func(t *testing.T) {
			left := []fault.Fault{late(1)}
			engines := map[string]*fakeEngine{api.EngineNetem: {held: left}, api.EngineNFQueue: {held: left}}
			open := func(name string) func(map[fault.Feature]string) (engine, error) {
				return func(map[fault.Feature]string) (engine, error) { return engines[name], nil }
			}
			got := choose(c.want, []candidate{
				{api.EngineNetem, c.netem, open(api.EngineNetem)},
				{api.EngineNFQueue, c.nfqueue, open(api.EngineNFQueue)},
			})
			if got.name != c.engine || !strings.Contains(got.reason, c.because) {
				t.Errorf("chose %s because %q, want %s because of %q", got.name, got.reason, c.engine, c.because)
			}
			// What any other engine left is cleared, also when it does not work
			// here any more; when none works, that goes for both.
			for name, e := range engines {
				if cleared := e.applied == 1 && len(e.held) == 0; cleared != (name != got.name) {
					t.Errorf("%s: applied %d times, holds %+v", name, e.applied, e.held)
				}
			}
		})
	}
}

func TestChooseSkipsAnEngineThatDoesNotOpen(t *testing.T) {
	works := func() (map[fault.Feature]string, error) {
		return map[fault.Feature]string{fault.FeatureSeed: "too old"}, nil
	}
	second := &fakeEngine{}
	got := choose(api.EngineAuto, []candidate{
		{api.EngineNetem, works, func(map[fault.Feature]string) (engine, error) { return nil, errors.New("no luck") }},
		{api.EngineNFQueue, works, func(map[fault.Feature]string) (engine, error) { return second, nil }},
	})
	if got.name != api.EngineNFQueue || !strings.Contains(got.reason, "no luck") {
		t.Errorf("chose %s because %q", got.name, got.reason)
	}
	if lacks := got.capabilities[api.EngineNFQueue].Lacks; lacks["seed"] != "too old" {
		t.Errorf("capabilities don't say what is lacking: %+v", got.capabilities)
	}
}

func TestOptionsNameFlagValueAndWhatIsAccepted(t *testing.T) {
	good := Options{Listen: ":2332", Engine: api.EngineAuto, NodeIP: "10.0.0.1, fd00::1", ProbePorts: "4000,10080,4000", QueueMemory: "2Mi", MaxDuration: time.Hour}
	p, err := good.parse()
	if err != nil || p.controlPort != 2332 || len(p.nodeAddrs) != 2 || len(p.probePorts) != 2 || p.queueMemory != 2<<20 {
		t.Fatalf("parse of good options: %+v, %v", p, err)
	}
	for flag, spoil := range map[string]func(o *Options){
		"--listen=\"\"":                   func(o *Options) { o.Listen = "" },
		"--listen=\":0\"":                 func(o *Options) { o.Listen = ":0" },
		"--listen=\"x\"":                  func(o *Options) { o.Listen = "x" },
		"--engine=\"tc\"":                 func(o *Options) { o.Engine = "tc" },
		"--node-ip=\"n\"":                 func(o *Options) { o.NodeIP = "n" },
		"--probe-ports=":                  func(o *Options) { o.ProbePorts = "80," },
		"\"65536\"":                       func(o *Options) { o.ProbePorts = "65536" },
		"--max-duration=-1s":              func(o *Options) { o.MaxDuration = -time.Second },
		"--max-duration=1ms":              func(o *Options) { o.MaxDuration = time.Millisecond },
		"--max-duration=10000h":           func(o *Options) { o.MaxDuration = 10000 * time.Hour },
		"--queue-memory=\"\"":             func(o *Options) { o.QueueMemory = "" },
		"--queue-memory=\"5\"":            func(o *Options) { o.QueueMemory = "5" },
		"--queue-memory=\"1Ki\"":          func(o *Options) { o.QueueMemory = "1Ki" },
		"--queue-memory=\"9999999999Gi\"": func(o *Options) { o.QueueMemory = "9999999999Gi" },
		"--queue-memory=\"65Gi\"":         func(o *Options) { o.QueueMemory = "65Gi" },
	} {
		bad := good
		spoil(&bad)
		if _, err := bad.parse(); err == nil || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), "want") {
			t.Errorf("%s: error %v", flag, err)
		}
	}
	_, err = Options{Listen: "x", Engine: "y", NodeIP: "z", QueueMemory: "q"}.parse()
	if err == nil || len(strings.Split(err.Error(), "\n")) != 4 {
		t.Errorf("four bad options at once: %v", err)
	}
}
