package fault_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/fault"
)

// Every refusal names each field that is wrong by its path, and no other.
func TestDecodeRefuses(t *testing.T) {
	many := `{"faults":[` + strings.TrimSuffix(strings.Repeat(`{"x":1},`, 100), ",") + `]}`
	for name, c := range map[string]struct {
		in     string
		fields []string
		said   string // in what is accepted
	}{
		"nothing":                 {"", []string{"body"}, "want a JSON object"},
		"spaces":                  {" \n", []string{"body"}, "want a JSON object"},
		"a list":                  {`[]`, []string{"body"}, "want an object"},
		"null":                    {`null`, []string{"body"}, "want an object"},
		"a string":                {`"faults"`, []string{"body"}, "want an object"},
		"no end":                  {`{"faults":[`, []string{"body"}, "want JSON"},
		"more":                    {`{"faults":[]} {}`, []string{"body"}, "nothing behind it"},
		"a byte order mark":       {"\ufeff{}", []string{"body"}, "want JSON"},
		"not UTF-8":               {"{\"faults\":[{\"name\":\"\xff\"}]}", []string{"body"}, "UTF-8"},
		"very deep":               {strings.Repeat("[", 100_000), []string{"body"}, "want JSON"},
		"deep":                    {`{"faults":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `}`, []string{"faults[0]"}, "want an object"},
		"an unknown field":        {`{"faults":[{"name":"a","dealy":"1ms"}]}`, []string{"faults[0].dealy"}, "want one of correlation, corrupt, delay"},
		"another case":            {`{"faults":[{"name":"a"},{"DELAY":"1ms"}]}`, []string{"faults[1].DELAY"}, "want delay"},
		"letters that fold":       {`{"faults":[{"peer\u017f":["10.0.0.1"]}]}`, []string{"faults[0].peerſ"}, "want peers"},
		"twice":                   {`{"faults":[{"delay":"1ms","delay":"2ms"}]}`, []string{"faults[0].delay"}, "once"},
		"a list twice":            {`{"faults":[],"faults":[{"name":"a"}]}`, []string{"faults"}, "once"},
		"null for the list":       {`{"faults":null}`, []string{"faults"}, "want a list"},
		"null for a list":         {`{"faults":[{"peers":null}]}`, []string{"faults[0].peers"}, "want a list, or leave it out"},
		"null for an object":      {`{"faults":[{"ports":null}]}`, []string{"faults[0].ports"}, "want an object, or leave it out"},
		"null inside":             {`{"faults":[{"ports":{"remote":null},"peers":[null]}]}`, []string{"faults[0].ports.remote", "faults[0].peers[0]"}, "leave it out"},
		"null for a fault":        {`{"faults":[null]}`, []string{"faults[0]"}, "want an object"},
		"null for a value":        {`{"faults":[{"seed":null,"partition":null}]}`, []string{"faults[0].seed", "faults[0].partition"}, "leave it out"},
		"an empty value":          {`{"faults":[{"protocol":"","device":""}]}`, []string{"faults[0].protocol", "faults[0].device"}, "leave it out"},
		"an empty peer":           {`{"faults":[{"peers":["10.0.0.1",""]}]}`, []string{"faults[0].peers[1]"}, "want a value"},
		"a port beyond":           {`{"faults":[{},{},{"ports":{"remote":[70000]}}]}`, []string{"faults[2].ports.remote[0]"}, "1 to 65535"},
		"ports of other kinds":    {`{"faults":[{"ports":{"local":[1.5,1e3,-1,"x",true,null,{},[1]]}}]}`, indexed("faults[0].ports.local[%d]", 8), "1 to 65535"},
		"several at once":         {`{"faults":[{"delay":20,"loss":{"percent":"1"},"partition":"yes"}]}`, []string{"faults[0].delay", "faults[0].loss.percent", "faults[0].partition"}, "want"},
		"a number too large":      {`{"faults":[{"loss":{"percent":1e999}}]}`, []string{"faults[0].loss.percent"}, "want a number"},
		"no whole number":         {`{"faults":[{"seed":1.5}]}`, []string{"faults[0].seed"}, "want a whole number from 0"},
		"a negative seed":         {`{"faults":[{"seed":-1}]}`, []string{"faults[0].seed"}, "from 0 to 18446744073709551615"},
		"beyond 32 bits":          {`{"faults":[{"rate":{"packetOverhead":2147483648,"cellSize":4294967296}}]}`, []string{"faults[0].rate.packetOverhead", "faults[0].rate.cellSize"}, "want a whole number from"},
		"a list for an object":    {`{"faults":[{"loss":[1]}]}`, []string{"faults[0].loss"}, "want an object"},
		"an object for a list":    {`{"faults":[{"peers":{"a":"10.0.0.1"}}]}`, []string{"faults[0].peers"}, "want a list"},
		"not more than it can":    {many, indexed("faults[%d].x", 20), "no such field"},
		"a long name of a field":  {`{"` + strings.Repeat("y", 1000) + `":1}`, []string{strings.Repeat("y", 32) + "..."}, "no such field"},
		"a wrong one and a right": {`{"faults":[{"delay":1},{"name":"b","delay":"1ms"}]}`, []string{"faults[0].delay"}, "want a string"},
	} {
		var set api.FaultSet
		err := fault.Decode([]byte(c.in), &set)
		if diff := cmp.Diff(c.fields, fields(t, err)); diff != "" {
			t.Errorf("%s: fields (-want +got)\n%s", name, diff)
		}
		if !strings.Contains(err.Error(), c.said) {
			t.Errorf("%s: %v does not say %q", name, err, c.said)
		}
	}
}

func TestDecodeReads(t *testing.T) {
	seed := uint64(9007199254740991)
	var got api.FaultSet
	err := fault.Decode([]byte(` {"faults": [{"name": "\u0061", "peers": [], "ports": {"local": [1, "2-3", "4"]},
		"loss": {"percent": 1.5e0, "correlation": 0}, "partition": true, "seed": 9007199254740991, "rate": {"perSecond": "1mbit", "packetOverhead": -4}}, {}]} `), &got)
	want := api.FaultSet{Faults: []api.Fault{{
		Name: "a", Peers: []string{}, Ports: &api.Ports{Local: []api.PortRange{port(1, 1), port(2, 3), port(4, 4)}},
		Loss: &api.Loss{Percent: 1.5}, Partition: true, Seed: &seed, Rate: &api.Rate{PerSecond: "1mbit", PacketOverhead: -4},
	}, {}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	if err := fault.Decode([]byte(`{"faults":[]}`), &got); err != nil || got.Faults == nil || len(got.Faults) != 0 {
		t.Errorf("an empty list is read as %#v, %v", got.Faults, err)
	}
}

// A list that has nothing in it does not mean everything.
func TestAnEmptyListIsRefused(t *testing.T) {
	for field, f := range map[string]api.Fault{
		"peers":        {Peers: []string{}},
		"ports.local":  {Ports: &api.Ports{Local: []api.PortRange{}}},
		"ports.remote": {Ports: &api.Ports{Local: []api.PortRange{port(1, 1)}, Remote: []api.PortRange{}}},
		"ports":        {Ports: &api.Ports{}},
	} {
		f.Name, f.Partition = "a", true
		_, err := fault.Parse(f, limits())
		if got := fields(t, err); len(got) != 1 || got[0] != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// indexed is a path with each index below n.
func indexed(format string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(format, i))
	}
	return all
}
