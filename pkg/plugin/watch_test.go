package plugin_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// paper is what is printed on while somebody reads.
type paper struct {
	mu   sync.Mutex
	text strings.Builder
	news chan struct{}
}

func newPaper() *paper { return &paper{news: make(chan struct{}, 1)} }

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.news <- struct{}{}:
	default:
	}
	return p.text.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// await waits until something is printed as often as it should be.
func (p *paper) await(t *testing.T, text string, times int) {
	t.Helper()
	for strings.Count(p.String(), text) < times {
		select {
		case <-p.news:
		case <-t.Context().Done():
			t.Fatalf("%q is not there %d times:\n%s", text, times, p)
		}
	}
}

// follow starts status -w, and returns what ends it and gives its exit status.
func (w *world) follow(out *paper, args ...string) func() int {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan int)
	w.follows = &genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: out}
	go func() { done <- w.run(ctx, append([]string{"status", "-w"}, args...)...) }()
	return func() int {
		cancel()
		return <-done
	}
}

// In a pipe there is a block for each change, and none without; Ctrl-C is no failure.
func TestWatchInAPipe(t *testing.T) {
	w := newWorld(t)
	out := newPaper()
	end := w.follow(out, "basic")
	out.await(t, "at 2030-01-31T12:00:00Z\nTidbCluster db/basic\n", 1)
	w.proxy.answer("basic-tikv-0", behaviour("dead"))
	out.await(t, "basic-tikv-0: the agent is silent: connection refused", 1)
	w.proxy.answer("basic-tikv-0", nil)
	out.await(t, "TidbCluster db/basic\nagents: 8 of 8 answer", 2)
	if status := end(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if n := strings.Count(out.String(), "TidbCluster"); n != 3 || strings.Contains(out.String(), "\x1b") {
		t.Errorf("%d blocks:\n%s", n, out)
	}
}

// At a terminal each picture is drawn over the one before, line by line.
func TestWatchAtATerminal(t *testing.T) {
	w := newWorld(t)
	w.isTerminal = true
	out := newPaper()
	end := w.follow(out, "basic")
	out.await(t, "\x1b[2J\x1b[H\x1b[?7lTidbCluster db/basic\x1b[K\n", 1)
	w.proxy.answer("", behaviour("forbidden"))
	out.await(t, "\x1b[J\x1b[?7h\x1b[H\x1b[?7lTidbCluster db/basic\x1b[K\nyou may not ask agents", 1)
	if status := end(); status != 0 || strings.Count(out.String(), "\x1b[2J") != 1 {
		t.Errorf("exit status %d:\n%q", status, out)
	}
}

// A list is followed too, and what is told of is read.
func TestWatchAList(t *testing.T) {
	w := newWorld(t)
	told := watch.NewFakeWithOptions(watch.FakeOptions{})
	w.watch = func(context.Context, client.ObjectList, ...client.ListOption) (watch.Interface, error) {
		return told, nil
	}
	out := newPaper()
	end := w.follow(out)
	out.await(t, "basic     yes      8/8", 1)
	tc := w.cluster()
	tc.Annotations = nil
	if err := w.Update(t.Context(), tc); err != nil {
		t.Fatal(err)
	}
	told.Modify(tc)
	out.await(t, "basic     no       8/8", 1)
	if status := end(); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
