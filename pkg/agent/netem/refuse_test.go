package netem

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tidelay/tidelay/pkg/fault"
)

func TestRefusals(t *testing.T) {
	ported := func(peers int) fault.Fault {
		m := fault.Match{Direction: fault.Egress, Protocol: "tcp", RemotePorts: portRange(1, 65534)}
		for i := range peers {
			m.Peers = append(m.Peers, prefixes(fmt.Sprintf("10.0.7.%d/32", i))...)
		}
		return matched("ported", m, ms)
	}
	jitter := everything("j", fault.Egress, 5*time.Second)
	jitter.Impairment.Jitter, jitter.Impairment.Distribution = maxJitter+1, fault.Uniform
	exact := everything("j", fault.Egress, 5*time.Second)
	exact.Impairment.Jitter, exact.Impairment.Distribution = maxJitter, fault.Uniform
	for name, c := range map[string]struct {
		f     fault.Fault
		field string
	}{
		"30 filters for each of 135 peers": {ported(135), ""},
		"of 136 peers":                     {ported(136), "faults"},
		"the longest jitter":               {exact, ""},
		"a longer one":                     {jitter, "jitter"},
	} {
		k := newFake(t)
		err := k.engine(nil).Apply([]fault.Fault{c.f})
		var invalid fault.Invalid
		switch {
		case c.field == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.field != "" && (!errors.As(err, &invalid) || invalid[0].Field != c.field || len(k.ops) > 0):
			t.Errorf("%s: %v after %d changes", name, err, len(k.ops))
		}
	}
}
