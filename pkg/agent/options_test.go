package agent

import (
	"slices"
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

// What a machine set in the environment ends no agent. Flags go first.
func TestTheEnvironmentIsNoReasonToEnd(t *testing.T) {
	good := Options{Listen: ":2332", Engine: api.EngineAuto, QueueMemory: "2Mi"}
	const uid = "5f0e4c9a-6f0b-4c55-9d51-0d6a2d3f7b10"
	for name, c := range map[string]struct {
		set                    func(o *Options)
		addrs, ports, warnings int
		uid                    string
	}{
		"nothing":       {func(*Options) {}, 0, 0, 0, ""},
		"good values":   {func(o *Options) { o.EnvNodeIP, o.EnvProbePorts = "10.0.0.1,fd00::1", "4000" }, 2, 1, 0, ""},
		"spaces":        {func(o *Options) { o.EnvNodeIP, o.EnvProbePorts = " ", " " }, 0, 0, 0, ""},
		"bad ones":      {func(o *Options) { o.EnvNodeIP, o.EnvProbePorts = "$(HOST_IP)", "http" }, 0, 0, 2, ""},
		"some bad ones": {func(o *Options) { o.EnvNodeIP, o.EnvProbePorts = "10.0.0.1,fe80::1%eth0", "4000,,0" }, 1, 1, 3, ""},
		"a UID":         {func(o *Options) { o.EnvPodUID = " " + uid + "\n" }, 0, 0, 0, uid},
		"no UID":        {func(o *Options) { o.EnvPodUID = "$(POD_UID)" }, 0, 0, 1, ""},
		"a long UID":    {func(o *Options) { o.EnvPodUID = strings.Repeat("a", 65) }, 0, 0, 1, ""},
		"flags":         {func(o *Options) { o.EnvNodeIP, o.EnvProbePorts, o.NodeIP, o.ProbePorts = "x", "y", "10.0.0.1", "1,2" }, 1, 2, 0, ""},
	} {
		o := good
		c.set(&o)
		p, err := o.parse()
		if err != nil || len(p.nodeAddrs) != c.addrs || len(p.probePorts) != c.ports || len(p.warnings) != c.warnings || p.podUID != c.uid {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		for _, warning := range p.warnings {
			variable, _, _ := strings.Cut(warning, "=")
			if !slices.Contains([]string{"$NODE_IP", "$PROBE_PORTS", "$POD_UID"}, variable) || !strings.Contains(warning, "want") {
				t.Errorf("%s: the warning %q does not name the variable and what is accepted", name, warning)
			}
		}
	}
}
