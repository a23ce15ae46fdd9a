package api

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParsePortRange(t *testing.T) {
	for in, want := range map[string]PortRange{
		"1":         {First: 1, Last: 1},
		"65535":     {First: 65535, Last: 65535},
		"080":       {First: 80, Last: 80},
		"2379-2380": {First: 2379, Last: 2380},
		"5-5":       {First: 5, Last: 5},
		"1-65535":   {First: 1, Last: 65535},
	} {
		if got, err := ParsePortRange(in); err != nil || got != want {
			t.Errorf("ParsePortRange(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", " ", "0", "-", "-1", "1-", "0-5", "5-4", "65536", "1-65536", "1-2-3", "1 - 2", " 1", "1\n", "+1", "1,2", "1:2", "0x50", "8e1", "80.0", "http",
		"٨٠", strings.Repeat("9", 1<<20), strings.Repeat("0", 40) + "1-",
	} {
		got, err := ParsePortRange(in)
		if err == nil {
			t.Errorf("ParsePortRange(%.40q) = %v, want an error", in, got)
			continue
		}
		if text := err.Error(); !strings.Contains(text, "1 to 65535") || len(text) > 200 {
			t.Errorf("error %q, want one line that says what is accepted", text)
		}
	}
}

func TestPortRangeJSON(t *testing.T) {
	for in, want := range map[string]string{
		`80`:      `80`,
		`"80"`:    `80`,
		`"80-80"`: `80`,
		`"80-81"`: `"80-81"`,
		`65535`:   `65535`,
	} {
		var p PortRange
		if err := json.Unmarshal([]byte(in), &p); err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if out, err := json.Marshal(p); err != nil || string(out) != want {
			t.Errorf("%s is written %s, %v; want %s", in, out, err, want)
		}
	}
	for _, in := range []string{`0`, `-1`, `65536`, `80.5`, `8e1`, `""`, `"0-1"`, `"http"`, `null`, `true`, `[80]`, `{"first":1,"last":2}`, `"80`} {
		p := PortRange{First: 7, Last: 7}
		if err := json.Unmarshal([]byte(in), &p); err == nil {
			t.Errorf("%s is accepted as %v", in, p)
		} else if (p != PortRange{First: 7, Last: 7}) {
			t.Errorf("%s is refused and changed the value to %v", in, p)
		}
	}
}

// What is left out is left out on the wire too, and what must be there is.
func TestFaultJSON(t *testing.T) {
	seed := uint64(0)
	for want, f := range map[string]Fault{
		`{"name":""}`: {},
		`{"name":"a","ports":{"local":[1,"2-3"]},"loss":{"gilbertElliott":{"toBad":0,"toGood":0,"lossInBad":0}},"seed":0}`: {
			Name: "a", Ports: &Ports{Local: []PortRange{{First: 1, Last: 1}, {First: 2, Last: 3}}},
			Loss: &Loss{GilbertElliott: &GilbertElliott{}}, Seed: &seed,
		},
		`{"name":"a","duplicate":{"percent":0.0001},"reorder":{"percent":25,"gap":5},"rate":{"perSecond":"10mbit","packetOverhead":-14}}`: {
			Name: "a", Duplicate: &Chance{Percent: 0.0001}, Reorder: &Reorder{Percent: 25, Gap: 5}, Rate: &Rate{PerSecond: "10mbit", PacketOverhead: -14},
		},
	} {
		if got, err := json.Marshal(f); err != nil || string(got) != want {
			t.Errorf("written %s, %v; want %s", got, err, want)
		}
	}
	status, err := json.Marshal(FaultStatus{Fault: Fault{Name: "a"}, Held: true})
	if err != nil || !strings.HasPrefix(string(status), `{"name":"a","held":true,"counters":{`) {
		t.Errorf("a fault's status is written %s, %v", status, err)
	}
}

func FuzzParsePortRange(f *testing.F) {
	for _, seed := range []string{"", "1", "65535", "65536", "2379-2380", "5-4", "1-2-3", "-1", "080", "+1", "1-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, err := ParsePortRange(in)
		if err != nil {
			return
		}
		if p.First == 0 || p.Last < p.First {
			t.Fatalf("ParsePortRange(%q) = %d to %d", in, p.First, p.Last)
		}
		if again, err := ParsePortRange(p.String()); err != nil || again != p {
			t.Fatalf("%q is written %q, which is %v, %v", in, p, again, err)
		}
		content, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var read PortRange
		if err := json.Unmarshal(content, &read); err != nil || read != p {
			t.Fatalf("%q is %s in JSON, which is %v, %v", in, content, read, err)
		}
	})
}

// A client that looked for peers and found none sends an empty list, which the
// agent refuses. Without it the fault would be for all.
func TestAnEmptyListIsSent(t *testing.T) {
	for want, f := range map[string]Fault{
		`{"name":"a"}`:                       {Name: "a"},
		`{"name":"a","peers":[]}`:            {Name: "a", Peers: []string{}},
		`{"name":"a","ports":{"remote":[]}}`: {Name: "a", Ports: &Ports{Remote: []PortRange{}}},
	} {
		if got, err := json.Marshal(f); err != nil || string(got) != want {
			t.Errorf("%+v is sent as %s, %v", f, got, err)
		}
	}
}
