package keeper

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidelay/tidelay/pkg/agent/api"
)

// An agent's words are passed on with the names that people chose, in one line, and once.
func TestWordsOfAgents(t *testing.T) {
	whole := target(1, delay("a.1", time.Millisecond, time.Time{}, "a"), delay("a.2", time.Millisecond, time.Time{}, "a"), delay("b.1", time.Millisecond, time.Time{}, "a", "b"))
	r := newRequest(&whole, nil, time.Now())
	for said, want := range map[string]string{
		"no engine": "no engine",
		"fault \"b.1\": duplicate is not supported here\nfault \"b.1\": duplicate is not supported here": "NetworkFaults a and b together: duplicate is not supported here",
		"fault \"a.1\": no\nfault \"a.2\": no\r\nelse":                                                   "NetworkFault a: no; else",
		`fault "a.1" of owner "tidelay-controller" is odd; and so on`:                                    "NetworkFault a is odd; and so on",
		`faults[2].reorder: not here; faults[0].delay "1ks": want less`:                                  `NetworkFaults a and b together: reorder: not here; NetworkFault a: delay "1ks": want less`,
		`"a.1" and "hand" both match`:                                                                    `NetworkFault a and "hand" both match`,
		strings.Repeat("x", 2000):                                                                        strings.Repeat("x", maxWords),
	} {
		if got := r.words(said); got != want {
			t.Errorf("%q is passed on as %q, want %q", said, got, want)
		}
	}
}

// What an agent warns of about the controller's faults is known as long as it holds them,
// and is told once.
func TestWarnings(t *testing.T) {
	keeping(t, func(t *testing.T, k *Keeper, f *fleet) {
		one := target(1, delay("a.1", time.Millisecond, time.Time{}, "a"), delay("a.2", time.Millisecond, time.Time{}, "a"))
		one.Faults[0].Match.Peers = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
		one.Faults[1].Match.Peers = []netip.Prefix{netip.MustParsePrefix("10.0.0.3/32")} // which it takes from the first, as it is meant
		hand := []api.Fault{
			{Name: "hand", Delay: "1ms", Peers: []string{"10.0.0.7", "10.0.0.8"}},
			{Name: "theirs", Owner: "me", Delay: "1ms", Peers: []string{"10.0.0.9"}},
			{Name: "wide", Delay: "1ms"},
			{Name: "newer", Delay: "1ms", Direction: "upwards"},
		}
		f.respond(func(_ context.Context, t Target, faults []api.Fault) (api.Changes, error, bool) {
			answer := f.replace(t, faults)
			answer.Faults = append(answer.Faults, hand...)
			answer.Warnings = []string{
				`fault "hand" takes packets away from fault "a.1" of owner "tidelay-controller", because it is more precise: such as one`,
				`fault "a.1" of owner "tidelay-controller" takes packets away from fault "wide", because it is more precise: such as one`,
				`fault "a.1" meets no TCP packet: ports.remote 2332: never touched`,
				`fault "a.1" meets no TCP packet: ports.remote 2332: never touched`,
				`fault "hand" meets no packet`, "IPv4: something about the pod",
			}
			return answer, nil, true
		})
		k.Set(cluster, []Target{one})
		synctest.Wait()
		want := []string{
			"NetworkFault a meets no TCP packet: ports.remote 2332: never touched",
			`fault "hand", set at the agent itself, takes packets away from NetworkFault a, because it is more precise`,
			`fault "theirs" of owner "me", set at the agent itself, takes packets away from NetworkFault a, because it is more precise`,
		}
		wantWarnings(t, k, want)
		told := len(f.saw().changed)
		time.Sleep(10 * time.Minute)
		wantWarnings(t, k, want)
		if got := len(f.saw().changed); got != told {
			t.Errorf("told of %d changes by renewals", got-told)
		}
		f.mu.Lock()
		hand = hand[2:]
		f.mu.Unlock()
		time.Sleep(time.Minute)
		wantWarnings(t, k, want[:1])
		f.fail(errRefused)
		time.Sleep(time.Minute + patience)
		wantWarnings(t, k, nil)
	})
}

func wantWarnings(t *testing.T, k *Keeper, want []string) {
	t.Helper()
	var got []string
	for _, w := range statesOf(k, cluster)["p-1"].Warnings {
		if !slices.Equal(w.Objects, []string{"a"}) {
			t.Errorf("%q is about %v", w.Text, w.Objects)
		}
		got = append(got, w.Text)
	}
	if !slices.Equal(got, want) {
		t.Errorf("warnings %q, want %q", got, want)
	}
}
