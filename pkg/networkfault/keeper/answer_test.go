package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
	"github.com/tidelay/tidelay/pkg/networkfault/decide"
)

func TestOutcomes(t *testing.T) {
	whole := target(1, delay("a", time.Millisecond, time.Time{}), delay("b", time.Millisecond, time.Time{}))
	noAgent := func(status int) error {
		return fmt.Errorf("PUT: %w", &client.Error{Problem: api.Problem{Status: status, Detail: "<html>"}})
	}
	late := &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	reset := &net.OpError{Op: "read", Source: &net.TCPAddr{Port: 12345}, Err: syscall.ECONNRESET}
	for name, test := range map[string]struct {
		err       error
		outcome   outcome
		words     string
		unchanged bool
		refused   string
	}{
		"refused connection":   {fmt.Errorf("PUT: %w", errRefused), unreachable, "connection refused", true, ""},
		"no route":             {&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, unreachable, "no route to host", true, ""},
		"slow connection":      {late, unreachable, "no connection in time", true, ""},
		"no answer":            {fmt.Errorf("PUT: %w", context.DeadlineExceeded), timeout, "timeout after 5s", false, ""},
		"reset":                {fmt.Errorf("PUT: %w", reset), failed, "connection reset by peer", false, ""},
		"no JSON":              {errors.New("PUT: decode answer: unexpected end"), failed, "PUT: decode answer: unexpected end", false, ""},
		"no token":             {fmt.Errorf("%w: read agents' token: gone", errNotSent), failed, "not asked: read agents' token: gone", true, ""},
		"bad field":            {problem(400, "faults[1].delay: no", "faults[1].delay"), refused, "NetworkFault b: delay: no", true, "b"},
		"bad fault":            {problem(400, "no", "faults[0]", "faults[10].delay"), refused, "no", true, "a"},
		"bad query":            {problem(400, "no", "query owner"), refused, "no", true, "a b"},
		"unsupported":          {problem(422, `fault "b": duplicate is not supported here`), refused, "NetworkFault b: duplicate is not supported here", true, "b"},
		"too many":             {problem(413, "no"), refused, "no", true, "a b"},
		"conflict":             {problem(409, `faults "a" and "hand" both match`), conflict, `NetworkFault a and "hand" both match`, true, "a"},
		"foreign":              {problem(409, "made by somebody else"), conflict, "made by somebody else", true, "a b"},
		"another pod":          {problem(421, "another pod"), otherPod, "another pod", false, ""},
		"wrong token":          {problem(401, "no"), unauthorized, "no", true, ""},
		"read-only":            {problem(403, "no"), unauthorized, "no", true, ""},
		"too fast":             {problem(429, "wait"), busy, "wait", true, ""},
		"not known":            {problem(503, "not known"), busy, "not known", false, ""},
		"no engine":            {problem(501, "no engine"), noEngine, "no engine", false, "a b"},
		"a failure of its own": {problem(500, "netlink"), failed, "netlink", false, ""},
		"a route it lacks":     {problem(404, "no route"), failed, "no route", true, ""},
		"no agent, 400":        {noAgent(400), failed, "something that is no agent answered 400 Bad Request", false, ""},
		"no agent, 404":        {noAgent(404), failed, "something that is no agent answered 404 Not Found", false, ""},
		"no agent, 503":        {noAgent(503), busy, "something that is no agent answered 503 Service Unavailable", false, ""},
	} {
		res := newRequest(&whole, nil, time.Now()).judge(api.Changes{}, test.err, 5*time.Second)
		var names []string
		for _, f := range res.refused {
			names = append(names, f.Name)
		}
		if res.outcome != test.outcome || res.words != test.words || res.isUnchanged != test.unchanged || strings.Join(names, " ") != test.refused || res.confirmed != nil {
			t.Errorf("%s: %+v, refused %v", name, res, names)
		}
		if !slices.Contains(outcomes(), res.outcome) {
			t.Errorf("%s: outcome %s is not among all", name, res.outcome)
		}
	}
	// An agent that can set no faults holds none.
	empty := target(1)
	if res := newRequest(&empty, nil, time.Now()).judge(api.Changes{}, problem(501, "no engine"), time.Second); res.outcome != ok {
		t.Errorf("nothing without an engine: %+v", res)
	}
}

// The faults of the request are counted without those that have ended, and refused ones
// are named nevertheless.
func TestRefusedBesideEnded(t *testing.T) {
	now := time.Now()
	whole := target(1, delay("over", time.Millisecond, now.Add(-time.Second)), delay("a", time.Millisecond, time.Time{}))
	res := newRequest(&whole, nil, now).judge(api.Changes{}, problem(400, "no", "faults[0].delay"), time.Second)
	if len(res.refused) != 1 || res.refused[0].Name != "a" {
		t.Errorf("refused %v", res.refused)
	}
}

func TestAnswersAreCompared(t *testing.T) {
	whole := target(1, delay("a", time.Millisecond, time.Time{}), delay("b", 1500*time.Microsecond, time.Time{}))
	whole.Faults[0].Match.Peers = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, test := range map[string]struct {
		change func(all []api.Fault) []api.Fault
		holds  string // empty for what was asked for
	}{
		"the same":              {func(all []api.Fault) []api.Fault { return all }, ""},
		"in another order":      {func(all []api.Fault) []api.Fault { slices.Reverse(all); return all }, ""},
		"written in other ways": {func(all []api.Fault) []api.Fault { all[1].Delay = "1500us"; all[0].Direction = ""; return all }, ""},
		"beside one by hand": {func(all []api.Fault) []api.Fault {
			return append(all, api.Fault{Name: "hand", Owner: "me", Delay: "1ms"})
		}, ""},
		"one missing": {func(all []api.Fault) []api.Fault { return all[:1] }, "a"},
		"nothing":     {func([]api.Fault) []api.Fault { return nil }, "none"},
		"one more": {func(all []api.Fault) []api.Fault {
			return append(all, api.Fault{Name: "c", Owner: decide.Owner, Delay: "1ms"})
		}, "a b"},
		"another delay":    {func(all []api.Fault) []api.Fault { all[1].Delay = "2ms"; return all }, "a"},
		"another peer":     {func(all []api.Fault) []api.Fault { all[0].Peers = []string{"10.0.0.0/9"}; return all }, "b"},
		"another owner":    {func(all []api.Fault) []api.Fault { all[0].Owner = "me"; return all }, "b"},
		"one that is none": {func(all []api.Fault) []api.Fault { all[0].Delay = "soon"; return all }, "b"},
	} {
		r := newRequest(&whole, nil, time.Now())
		answered := slices.Clone(r.faults)
		for i := range answered {
			answered[i].Duration, answered[i].ExpiresAt = "", "2030-01-31T12:00:00Z"
		}
		res := r.judge(api.Changes{Faults: test.change(answered)}, nil, time.Second)
		var names []string
		for _, h := range res.confirmed {
			names = append(names, h.fault.Name)
		}
		want, wantOutcome := test.holds, otherFaults
		switch want {
		case "":
			want, wantOutcome = "a b", ok
		case "none":
			want = ""
		}
		if res.outcome != wantOutcome || strings.Join(names, " ") != want || (res.words == "") != (wantOutcome == ok) {
			t.Errorf("%s: %s %q, holds %v", name, res.outcome, res.words, names)
		}
	}
}

// An agent that lies is told, and asked again.
func TestAnAgentThatLies(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		f.respond(func(context.Context, Target, []api.Fault) (api.Changes, error, bool) {
			return api.Changes{Applied: true}, nil, true
		})
		k.Set(cluster, []Target{target(1, delay("a", time.Millisecond, time.Time{}))})
		synctest.Wait()
		wantState(t, k, 1, "holds; failed: the agent answered with other faults than it was asked for")
		f.respond(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		wantState(t, k, 1, "holds a=1ms")
	})
}

// What somebody else did to the controller's faults is put right by a renewal, and told.
func TestPutRight(t *testing.T) {
	for name, test := range map[string]struct {
		by   func(f *fleet, all map[string]kept)
		want string
	}{
		"a lost state":    {func(_ *fleet, all map[string]kept) { clear(all) }, "p-1: a add, b add"},
		"one removed":     {func(_ *fleet, all map[string]kept) { delete(all, "a") }, "p-1: a add"},
		"one changed":     {func(_ *fleet, all map[string]kept) { h := all["a"]; h.Delay = "9ms"; all["a"] = h }, "p-1: a change"},
		"one more":        {func(_ *fleet, all map[string]kept) { h := all["a"]; h.Name = "c"; all["c"] = h }, "p-1: c remove"},
		"another life":    {func(_ *fleet, all map[string]kept) { h := all["a"]; h.until = h.until.Add(time.Hour); all["a"] = h }, ""},
		"nothing changed": {func(*fleet, map[string]kept) {}, ""},
	} {
		keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
			whole := target(1, delay("a", time.Millisecond, time.Time{}), delay("b", time.Millisecond, time.Time{}))
			k.Set(cluster, []Target{whole})
			synctest.Wait()
			f.mu.Lock()
			test.by(f, f.holds[whole.Addr])
			f.mu.Unlock()
			time.Sleep(3 * time.Minute)
			if got := strings.Join(f.saw().putRight, "; "); got != test.want {
				t.Errorf("%s: put right %q, want %q", name, got, test.want)
			}
			if got := testutil.ToFloat64(k.metrics.putRight); got != float64(len(f.saw().putRight)) {
				t.Errorf("%s: %v are counted as put right", name, got)
			}
			if got := f.held("10.0.0.1"); got != "a=1ms b=1ms" {
				t.Errorf("%s: holds %q", name, got)
			}
			if len(f.saw().changed) != 1 {
				t.Errorf("%s: told of %d changes", name, len(f.saw().changed))
			}
		})
	}
}

// A fault that ends around a renewal was not changed by anybody.
func TestAnEndIsNotPutRight(t *testing.T) {
	now := time.Now()
	ending, staying := delay("ending", time.Millisecond, now.Add(time.Minute)), delay("staying", time.Millisecond, time.Time{})
	whole := target(1, ending, staying)
	before := newRequest(&whole, nil, now).asked
	for name, test := range map[string]struct {
		at     time.Duration
		action string
	}{
		"still there after its end":             {61 * time.Second, api.ActionRemove},
		"gone and asked for in its last second": {60*time.Second - time.Millisecond, api.ActionKeep},
		"gone while the request was sent":       {60 * time.Second, api.ActionAdd},
	} {
		at := now.Add(test.at)
		r := newRequest(&whole, nil, at.Add(-100*time.Millisecond))
		r.isRenewal = true
		if got := r.putRight(api.Changes{Changes: []api.Change{{Name: "ending", Action: test.action}, {Name: "staying", Action: api.ActionKeep}}}, before, at); len(got) != 0 {
			t.Errorf("%s: put right %v", name, got)
		}
	}
	// The first push puts nothing right.
	r := newRequest(&whole, nil, now)
	if got := r.putRight(api.Changes{Changes: []api.Change{{Name: "staying", Action: api.ActionChange}}}, nil, now); len(got) != 0 {
		t.Errorf("the first push put right %v", got)
	}
}
