package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

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
