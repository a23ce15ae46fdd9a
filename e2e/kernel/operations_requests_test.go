//go:build kernel

package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tidelay/tidelay/e2e/netlab"
	"github.com/tidelay/tidelay/pkg/agent/api"
	"github.com/tidelay/tidelay/pkg/agent/client"
)

// What is asked of the agent.

// places are where faults act: four of nobody, two of an owner, one on net1, and
// one for all packets.
func places(l *lab) []place {
	all := []place{{fault: latency}, {fault: "second", device: "net1", peers: []string{net1Node}}}
	for i := range 6 {
		p := place{fault: fmt.Sprintf("f%d", i), peers: []string{l.bystander.More[i], l.bystander.More6[i]}}
		if i >= 4 {
			p.owner = owned
		}
		all = append(all, p)
	}
	return all
}

// place chooses one that meets a condition.
func (w *walk) place(condition func(place) bool) place {
	all := slices.DeleteFunc(places(w.lab), func(p place) bool { return !condition(p) })
	return all[w.random.IntN(len(all))]
}

func isOwned(p place) bool   { return p.owner == owned }
func isNobodys(p place) bool { return p.owner == "" }

// fault makes one up for a place.
func (w *walk) fault(p place) wanted {
	f := api.Fault{Name: p.fault, Owner: p.owner, Device: p.device, Direction: []string{"egress", "ingress", "both"}[w.random.IntN(3)]}
	switch choice := w.random.IntN(8); {
	case choice < 2:
		f.Partition = true
	case choice < 3 && w.a.lacks("rate") == "":
		f.Rate = &api.Rate{PerSecond: "20mbit"}
	default:
		f.Delay = fmt.Sprintf("%dms", 1+w.random.IntN(30))
	}
	if w.random.IntN(3) == 0 {
		f.Protocol = "icmp"
	}
	f.Peers = slices.Clone(p.peers)
	if len(p.peers) > 0 && w.random.IntN(3) == 0 {
		for i := range w.random.IntN(60) {
			f.Peers = append(f.Peers, fmt.Sprintf("198.51.%d.%d", f.Name[1], i)) // of nobody else
		}
	}
	return wanted{Fault: f, lasts: w.life()}
}

// life is how long a fault lasts: for ever or some seconds.
func (w *walk) life() time.Duration {
	return time.Duration(max(0, w.random.IntN(9)-4)) * time.Second
}

// some makes up faults for some of the places that meet a condition.
func (w *walk) some(condition func(place) bool) faultSet {
	set := make(faultSet)
	for _, p := range places(w.lab) {
		if condition(p) && w.random.IntN(2) == 0 {
			set[p.fault] = w.fault(p)
		}
	}
	return set
}

// change asks for a set of faults. It wants it to be made, unless the disk is in the
// way and the change needs it: then nothing may change.
func (w *walk) change(next faultSet, send func(ctx context.Context) error) {
	w.t.Helper()
	next = next.from(time.Now())
	needsDisk := w.faults.needsDisk(next)
	w.said += fmt.Sprint(next.names())
	err := send(context.Background())
	var refusal *client.Error
	switch {
	case err == nil && needsDisk && w.disk == readOnly && !w.stepped:
		w.t.Fatalf("%s: made though the state can't be stored", w.said)
	case err == nil:
		w.faults, w.meddled = next, false
	case w.disk != works && (needsDisk || w.stepped) && errors.As(err, &refusal) && refusal.Status == http.StatusInternalServerError:
		w.said += " refused"
	default:
		w.t.Fatalf("%s: %v", w.said, err)
	}
}

func (w *walk) setAll() {
	next := w.some(isNobodys)
	w.change(next, func(ctx context.Context) error {
		_, err := w.a.client().ReplaceFaults(ctx, next.requests())
		return err
	})
}

func (w *walk) setOne() {
	f := w.fault(w.place(isNobodys))
	w.change(w.faults.with(faultSet{f.Name: f}), func(ctx context.Context) error {
		_, err := w.a.client().SetFault(ctx, f.request())
		return err
	})
}

// setLatency sets or clears it by the route that needs no body.
func (w *walk) setLatency() {
	if w.random.IntN(3) == 0 {
		w.change(w.faults.without(latency), func(ctx context.Context) error {
			_, err := w.a.client().ClearLatency(ctx)
			return err
		})
		return
	}
	f := wanted{Fault: api.Fault{Name: latency, Direction: "egress", Delay: fmt.Sprintf("%dms", 1+w.random.IntN(30))}, lasts: w.life()}
	w.change(w.faults.with(faultSet{latency: f}), func(ctx context.Context) error {
		_, err := w.a.client().SetLatency(ctx, client.Delay{Delay: f.Delay, Duration: f.request().Duration})
		return err
	})
}

func (w *walk) endOne() {
	names := w.faults.names()
	name := names[w.random.IntN(len(names))]
	w.change(w.faults.without(name), func(ctx context.Context) error {
		_, err := w.a.client().DeleteFault(ctx, name)
		var refusal *client.Error
		if errors.As(err, &refusal) && refusal.Status == http.StatusNotFound && w.faults[name].mayBeOver(time.Now()) {
			return nil
		}
		return err
	})
}

func (w *walk) endAll() {
	w.change(faultSet{}, func(ctx context.Context) error {
		_, err := w.a.client().DeleteFaults(ctx)
		return err
	})
}

// setOwned replaces what an owner has and leaves all else.
func (w *walk) setOwned() { w.replaceOwned(w.some(isOwned)) }

// renew is setOwned with the same faults.
func (w *walk) renew() {
	same := w.faults.ownedBy(owned)
	for name, f := range same {
		f.lasts, f.life = w.life(), life{}
		same[name] = f
	}
	w.replaceOwned(same)
}

func (w *walk) replaceOwned(next faultSet) {
	rest := w.faults.without(w.faults.ownedBy(owned).names()...)
	w.change(rest.with(next), func(ctx context.Context) error {
		_, err := w.a.client().ReplaceOwned(ctx, owned, next.requests())
		return err
	})
}

// verify sets the same faults again, and has the agent measure that nothing has
// changed by it.
func (w *walk) verify() {
	p := w.place(func(p place) bool { return p.device == "" || w.net1 == up })
	peer := w.lab.bystander.IP
	if len(p.peers) > 0 {
		peer = p.peers[0]
	}
	next := w.faults.with(nil)
	for name, f := range next {
		f.life = life{}
		next[name] = f
	}
	netlab.Retry(w.t, "verify", func() error {
		verdict := "nothing was made"
		_, cut := w.pingTo(p)
		w.change(next, func(ctx context.Context) error {
			got, err := w.a.client().ReplaceFaults(ctx, next.requests(), client.Verify(peer))
			if err == nil && got.Body.Verified != nil {
				verdict = got.Body.Verified.Verdict
			}
			return err
		})
		if !cut && w.disk == works && !strings.Contains(verdict, "agrees with") {
			return errors.New(verdict)
		}
		return nil
	})
}
