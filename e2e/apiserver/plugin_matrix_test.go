//go:build apiserver

package apiserver

import (
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

// A file of round trips becomes a topology: where both orders differ, each way is half of its own
// row. A file with a wrong cell is refused by row and column, and nothing is written.
func (f *fleet) pluginReadsMatrix(t *testing.T) {
	d := f.database(t, nil)
	p := d.operator()
	file := filepath.Join(t.TempDir(), "zones.csv")
	read := func(content string) said {
		t.Helper()
		must(t, os.WriteFile(file, []byte(content), 0o600))
		return p.runs("topology", "basic", "--spread=2", "--matrix", file, "--wait", "--timeout=3m")
	}
	for content, words := range map[string]string{
		"":                                   "zones.csv is empty",
		"from,to,rtt_ms\na,b,-1\n":           `row 2, column 3 (rtt_ms): "-1"`,
		"from,to,rtt_ms\na,b,20ms\n":         `row 2, column 3 (rtt_ms): "20ms"`,
		"from,to,rtt_ms\na,b,600001\n":       `row 2, column 3 (rtt_ms): "600001"`,
		"from,to,rtt_ms\na,b,1\na,b,2\n":     "row 3",
		"from;to;rtt_ms\na;b;1\n":            "want commas",
		"from,to,rtt_ms,loss\na,b,1,1\n":     `"loss"`,
		"from,to,rtt_ms,jitter_ms\na,b,1,2":  "jitter_ms",
		",a,b\na,,1\nb,x,\n":                 `"x"`,
		"from,to,rtt_ms,rate_mbit\na,b,1,-5": `"-5"`,
	} {
		read(content).wants(t, 2, "zones.csv", words)
	}
	var written v1alpha1.NetworkTopologyList
	must(t, d.typed.List(t.Context(), &written, client.InNamespace(d.namespace.name)))
	if len(written.Items) > 0 {
		t.Fatalf("written: %+v", written.Items)
	}
	read("# of 2030\nfrom,to,rtt_ms\na,b,10\nb,a,30\n").wants(t, 0, "in force at 8/8 pods")
	d.wantEffects(d.ways("5ms", "15ms"))
	read("rtt_ms,a,b\na,,8\nb,,\n").wants(t, 0, "changed in place")
	d.wantEffects(d.ways("4ms", "4ms"))
	p.runs("clear", "--all").wants(t, 0, "cleared")
}

// ways returns what happens from zone a to zone b and back, of two zones that are dealt out.
func (d *database) ways(there, back string) effects {
	d.t.Helper()
	all := effects{}
	inA := map[string]bool{}
	for _, pod := range d.named("") {
		inA[pod] = (pod[len(pod)-1]-'0')%2 == 0
	}
	for from, isFromA := range inA {
		for to, isToA := range inA {
			switch {
			case isFromA == isToA:
			case isFromA:
				all[from+">"+to] = there
			default:
				all[from+">"+to] = back
			}
		}
	}
	return all
}
