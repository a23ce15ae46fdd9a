//go:build e2e

package cluster

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// What tests share, beside the names of the TidbClusters. Every test needs the machine,
// whose processors are few; one that measures times claims all of it.
const (
	theInjector   = "injector"
	theController = "controller"
	theMachine    = "machine"
)

// Tests run side by side where they can. A test claims what it uses before it begins:
// any number of tests may need a thing as it is, and one alone may change it.
type claim struct {
	thing   string
	changes bool
}

func needs(thing string) claim   { return claim{thing: thing} }
func changes(thing string) claim { return claim{thing: thing, changes: true} }

// claims are those of the tests that run now, and of those that wait.
type claims struct {
	mu       sync.Mutex
	released *sync.Cond
	users    map[string]int // how many need a thing; -1: one changes it
	waiting  map[*testing.T][]claim
}

func newClaims() *claims {
	c := &claims{users: map[string]int{}, waiting: map[*testing.T][]claim{}}
	c.released = sync.NewCond(&c.mu)
	return c
}

// sideBySide runs a test beside others, from when all its claims can be granted at once
// until its clean-up is done.
func (c *claims) sideBySide(t *testing.T, all ...claim) {
	t.Helper()
	t.Parallel()
	if !slices.Contains(all, changes(theMachine)) {
		all = append(all, needs(theMachine))
	}
	c.wait(t, all)
}

// first runs a test beside others, and has its claims granted before any of them. It is
// for one that takes long and leaves the machine alone.
func (c *claims) first(t *testing.T, all ...claim) {
	t.Helper()
	c.mu.Lock()
	free := c.free(all)
	c.mu.Unlock()
	if !free {
		t.Fatal("another test is first, and claims the same")
	}
	c.wait(t, all)
	t.Parallel()
}

// wait waits until all claims can be granted, and has them granted until the test ends.
func (c *claims) wait(t *testing.T, all []claim) {
	t.Helper()
	asked := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[t] = all
	for !c.free(all) || c.givesWay(all) {
		c.released.Wait()
	}
	delete(c.waiting, t)
	c.released.Broadcast() // to those that gave way
	t.Logf("waited %s for others", time.Since(asked).Round(time.Second))
	c.add(all, 1)
	granted := time.Now()
	t.Cleanup(func() {
		t.Logf("took %s", time.Since(granted).Round(time.Second))
		c.mu.Lock()
		defer c.mu.Unlock()
		c.add(all, -1)
		c.released.Broadcast()
	})
}

// givesWay reports whether a test waits for nothing but the whole machine: those that need
// only a part of it could keep it waiting until none of them is left.
func (c *claims) givesWay(all []claim) bool {
	if slices.Contains(all, changes(theMachine)) {
		return false
	}
	for _, other := range c.waiting {
		rest := slices.DeleteFunc(slices.Clone(other), func(a claim) bool { return a.thing == theMachine })
		if slices.Contains(other, changes(theMachine)) && c.free(rest) {
			return true
		}
	}
	return false
}

func (c *claims) free(all []claim) bool {
	for _, a := range all {
		if users := c.users[a.thing]; users < 0 || users > 0 && a.changes {
			return false
		}
	}
	return true
}

// add grants claims with 1, and releases them with -1.
func (c *claims) add(all []claim, n int) {
	for _, a := range all {
		if a.changes {
			c.users[a.thing] -= n
		} else {
			c.users[a.thing] += n
		}
	}
}
