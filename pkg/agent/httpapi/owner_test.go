package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/enginetest"
	"github.com/tidelay/tidelay/pkg/fault"
)

const (
	byHand  = `{"name":"hand","peers":["10.0.0.9"],"delay":"9ms"}`
	ofShop  = `{"faults":[{"name":"one","peers":["10.0.0.1"],"delay":"1ms","duration":"5m"},{"name":"two","peers":["10.0.0.2"],"partition":true,"duration":"5m"}]}`
	ofStore = `{"faults":[{"name":"three","owner":"store","peers":["10.0.0.3"],"delay":"3ms"}]}`
)

func changes(t *testing.T, response *http.Response) api.Changes {
	t.Helper()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", response.StatusCode, text(t, response))
	}
	var got api.Changes
	decodeInto(t, response, &got)
	if got.Warnings == nil {
		t.Error("warnings are null")
	}
	return got
}

// owned lists the faults of a server, "NAME OWNER" each.
func (s testServer) owned(t *testing.T) string {
	t.Helper()
	var got api.FaultSet
	decodeInto(t, s.get("/v1/faults"), &got)
	var all []string
	for _, f := range got.Faults {
		all = append(all, strings.TrimSpace(f.Name+" "+f.Owner))
	}
	return strings.Join(all, ", ")
}

func TestAnOwnerReplacesItsOwnFaults(t *testing.T) {
	e := &enginetest.Engine{}
	s := newTestServer(t, e)
	changes(t, s.do("PUT", "/v1/faults/hand", byHand))
	changes(t, s.do("PUT", "/v1/faults?owner=shop", ofShop))
	changes(t, s.do("PUT", "/v1/faults?owner=store", ofStore))
	if got := s.owned(t); got != "hand, one shop, three store, two shop" {
		t.Fatalf("faults %s", got)
	}
	if got := actions(t, s.do("PUT", "/v1/faults?owner=shop", `{"faults":[{"name":"four","peers":["10.0.0.4"],"delay":"4ms"}]}`)); got != "four add, hand keep, one remove, three keep, two remove" {
		t.Errorf("replaced: %s", got)
	}
	var status api.Status
	decodeInto(t, s.get("/v1/status"), &status)
	if len(status.Faults) != 3 || status.Faults[0].Owner != "shop" || status.Faults[1].Owner != "" {
		t.Errorf("status %+v", status.Faults)
	}
	changes(t, s.do("PUT", "/v1/faults?owner=shop", `{"faults":[]}`))
	if got := s.owned(t); got != "hand, three store" || len(e.Get().Faults) != 2 {
		t.Errorf("faults %s, the kernel has %+v", got, e.Get().Faults)
	}
	// What was read is written back with its owners.
	if got := actions(t, s.do("PUT", "/v1/faults", text(t, s.get("/v1/faults")))); got != "hand keep, three keep" || s.owned(t) != "hand, three store" {
		t.Errorf("written back: %s, faults %s", got, s.owned(t))
	}
	if got := actions(t, s.do("DELETE", "/v1/faults", "")); got != "hand remove, three remove" || len(e.Get().Faults) != 0 {
		t.Errorf("all deleted: %s", got)
	}
	if got := changes(t, s.do("DELETE", "/v1/faults", "")); len(got.Changes) != 0 {
		t.Errorf("deleted again: %+v", got)
	}
}

// Whatever is refused changes nothing.
func TestFaultsOfOtherOwnersAreNotReplaced(t *testing.T) {
	e := &enginetest.Engine{}
	s := newTestServer(t, e)
	changes(t, s.do("PUT", "/v1/faults/hand", byHand))
	changes(t, s.do("PUT", "/v1/faults?owner=shop", `{"faults":[{"name":"latency","delay":"1ms"}]}`))
	before := e.Get()
	for name, c := range map[string]struct {
		method, path, body string
		want               int
		detail             string
	}{
		"a name of another owner":     {"PUT", "/v1/faults?owner=store", `{"faults":[{"name":"latency","delay":"2ms"}]}`, 409, `"shop"`},
		"a name set by hand":          {"PUT", "/v1/faults?owner=store", `{"faults":[{"name":"hand","delay":"2ms","protocol":"udp"}]}`, 409, "without one"},
		"a body of another owner":     {"PUT", "/v1/faults?owner=store", `{"faults":[{"name":"new","owner":"shop","delay":"2ms","protocol":"udp"}]}`, 409, `faults[0].owner "shop"`},
		"one by hand":                 {"PUT", "/v1/faults/latency", `{"delay":"2ms"}`, 409, `"shop"`},
		"one of another owner":        {"PUT", "/v1/faults/hand", `{"owner":"shop","delay":"2ms","protocol":"udp"}`, 409, "without one"},
		"the latency route":           {"GET", "/latency/2ms", "", 409, `"shop"`},
		"a bad owner":                 {"PUT", "/v1/faults?owner=A/b", `{"faults":[]}`, 400, "query owner"},
		"an empty owner":              {"PUT", "/v1/faults?owner=", `{"faults":[]}`, 400, "query owner"},
		"two owners":                  {"PUT", "/v1/faults?owner=shop&owner=store", `{"faults":[]}`, 400, "want it once"},
		"an owner of one":             {"PUT", "/v1/faults/a?owner=shop", `{"delay":"2ms"}`, 400, "query owner"},
		"an owner of all that end":    {"DELETE", "/v1/faults?owner=shop", "", 400, "query owner"},
		"a bad owner in the body":     {"PUT", "/v1/faults", `{"faults":[{"name":"a","owner":"A","delay":"2ms"}]}`, 400, "faults[0].owner"},
		"the same packets as another": {"PUT", "/v1/faults?owner=store", `{"faults":[{"name":"new","delay":"2ms"}]}`, 409, `"latency" and "new"`},
	} {
		response := s.do(c.method, c.path, c.body)
		var got api.Problem
		decodeInto(t, response, &got)
		if response.StatusCode != c.want || !strings.Contains(got.Detail, c.detail) {
			t.Errorf("%s: status %d, %s, want %d with %s", name, response.StatusCode, got.Detail, c.want, c.detail)
		}
	}
	if diff := cmp.Diff(fault.WireSet(before.Faults), fault.WireSet(e.Get().Faults)); diff != "" {
		t.Errorf("the kernel was changed (-want +got):\n%s", diff)
	}
}

// A renewal has the revision of what is there, and If-Match agrees with it.
func TestARenewalIsNoChange(t *testing.T) {
	s := newTestServer(t, &enginetest.Engine{})
	first := s.do("PUT", "/v1/faults?owner=shop", ofShop)
	tag := first.Header.Get("ETag")
	before := changes(t, first)
	renewal := s.do("PUT", "/v1/faults?owner=shop", strings.ReplaceAll(ofShop, "5m", "10m"), "If-Match", tag)
	if got := renewal.Header.Get("ETag"); got != tag {
		t.Errorf("ETag %s after %s", got, tag)
	}
	after := changes(t, renewal)
	for i, change := range after.Changes {
		if change.Action != api.ActionKeep {
			t.Errorf("%s: %s", change.Name, change.Action)
		}
		if after.Faults[i].ExpiresAt <= before.Faults[i].ExpiresAt {
			t.Errorf("%s ends at %s, before at %s", change.Name, after.Faults[i].ExpiresAt, before.Faults[i].ExpiresAt)
		}
	}
	var read api.Fault
	if decodeInto(t, s.get("/v1/faults/one"), &read); read.ExpiresAt != after.Faults[0].ExpiresAt {
		t.Errorf("read back %+v", read)
	}
}

func TestAnswersWarn(t *testing.T) {
	s := newTestServer(t, &enginetest.Engine{})
	warned := func(what string, got []string, want ...string) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: warnings %q, want %q", what, got, want)
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				t.Errorf("%s: warning %q, want %q", what, got[i], want[i])
			}
		}
	}
	warned("the first", changes(t, s.do("PUT", "/v1/faults?owner=shop", ofShop)).Warnings)
	var latency api.Latency
	decodeInto(t, s.get("/latency/20ms"), &latency)
	warned("for all", latency.Warnings, `fault "one" of owner "shop" takes packets away from fault "latency"`, `fault "two" of owner "shop"`)
	decodeInto(t, s.get("/latency"), &latency)
	warned("read", latency.Warnings, `fault "one"`, `fault "two"`)
	warned("a more precise one", changes(t, s.do("PUT", "/v1/faults/p", `{"peers":["10.0.0.1"],"protocol":"tcp","delay":"1ms"}`)).Warnings,
		`fault "p" takes packets away from fault "latency"`, `fault "p" takes packets away from fault "one" of owner "shop"`)
	warned("a renewal", changes(t, s.do("PUT", "/v1/faults?owner=shop", ofShop)).Warnings, `"one" of owner "shop" takes`, `"two" of owner "shop" takes`, `fault "p" takes`)
	warned("one that is not named", changes(t, s.do("PUT", "/v1/faults/q", `{"direction":"ingress","delay":"1ms"}`)).Warnings)
	const putBack = `owner "shop" will put back fault `
	warned("a dry run", changes(t, s.do("DELETE", "/v1/faults/one?dryRun=true", "")).Warnings, putBack+`"one"`)
	warned("one of an owner", changes(t, s.do("DELETE", "/v1/faults/one", "")).Warnings, putBack+`"one"`)
	warned("one set by hand", changes(t, s.do("DELETE", "/v1/faults/p", "")).Warnings)
	warned("changed by its owner", changes(t, s.do("PUT", "/v1/faults/two", `{"owner":"shop","direction":"ingress","peers":["10.0.0.2"],"partition":true}`)).Warnings, `fault "two" of owner "shop" takes packets away from fault "q"`)
	warned("removed by its owner", changes(t, s.do("PUT", "/v1/faults?owner=shop", `{"faults":[]}`)).Warnings)
	changes(t, s.do("PUT", "/v1/faults?owner=shop", ofShop))
	warned("all replaced", changes(t, s.do("PUT", "/v1/faults", `{"faults":[{"name":"one","owner":"shop","peers":["10.0.0.1"],"delay":"2ms"}]}`)).Warnings, putBack+`"one", "two"`)
	changes(t, s.do("PUT", "/v1/faults?owner=store", ofStore))
	warned("all deleted", changes(t, s.do("DELETE", "/v1/faults", "")).Warnings, putBack+`"one"`, `owner "store" will put back fault "three"`)
}
