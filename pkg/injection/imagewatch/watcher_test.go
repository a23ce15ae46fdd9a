package imagewatch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
)

// world is a Watcher with the API server that it lists pods from.
type world struct {
	t       *testing.T
	watcher *Watcher
	config  injection.Config
	pods    []*corev1.Pod
	err     error // of every list
	lists   int
	now     time.Time
	log     []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, config: config(), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	watcher, err := New(Options{
		Config: func() injection.Config { return w.config }, Pods: w, Interval: time.Minute, Metrics: prometheus.NewPedanticRegistry(),
		Log: funcr.New(func(_, args string) { w.log = append(w.log, args) }, funcr.Options{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	watcher.now = func() time.Time { return w.now }
	w.watcher = watcher
	return w
}

func (w *world) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	w.t.Error("a pod is read by its name")
	return nil
}

// List selects as the API server does.
func (w *world) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	w.lists++
	if w.err != nil {
		return w.err
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	if o.FieldSelector == nil {
		w.t.Fatal("a list of all pods")
	}
	if o.Namespace == "" && (o.LabelSelector.String() != labels.SelectorFromSet(tidbcluster.OperatorLabels()).String() || o.Raw.ResourceVersion != "0") {
		w.t.Errorf("pods of the cluster are listed by labels %s at version %q", o.LabelSelector, o.Raw.ResourceVersion)
	}
	for _, pod := range w.pods {
		matches := o.FieldSelector.Matches(fields.Set{"status.phase": string(pod.Status.Phase), "metadata.name": pod.Name})
		if matches && (o.Namespace == "" || o.Namespace == pod.Namespace) {
			pods := list.(*corev1.PodList)
			pods.Items = append(pods.Items, *pod)
		}
	}
	return nil
}

// wants looks for failures after a time, and checks the problem; "" is for none.
func (w *world) wants(after time.Duration, problem string) {
	w.t.Helper()
	w.now = w.now.Add(after)
	w.watcher.look(w.t.Context())
	w.says(problem)
}

func (w *world) says(problem string) {
	w.t.Helper()
	got := w.watcher.Problem("db", w.config).Detail
	if (got == "") != (problem == "") || !strings.Contains(got, problem) {
		w.t.Errorf("problem %q, want %q", got, problem)
	}
}

func (w *world) wantsLog(words ...string) {
	w.t.Helper()
	for i, line := range w.log {
		if i >= len(words) || !strings.Contains(line, words[i]) {
			w.t.Errorf("log %q, want a line each with %q", w.log, words)
			return
		}
	}
	if len(w.log) != len(words) {
		w.t.Errorf("log %q, want a line each with %q", w.log, words)
	}
}

// runs has the agent of a pod run, and the pod with it.
func runs(pod *corev1.Pod) {
	pod.Status.Phase = corev1.PodRunning
	pod.Status.ContainerStatuses[1].State = pod.Status.ContainerStatuses[0].State
}

const onFirst = "image tidelay/agent:v2 can't be pulled on pod db/basic-tikv-0 (ImagePullBackOff: kubelet's message)"

func TestImageIsPulledAtLast(t *testing.T) {
	w := newWorld(t)
	w.wants(0, "")
	first, second := pending("basic-tikv-0", "ImagePullBackOff"), pending("basic-tikv-1", "ErrImagePull")
	w.pods = []*corev1.Pod{first, second}
	w.wants(time.Minute, onFirst)
	w.wants(time.Hour, onFirst) // for as long as a pod fails

	// While another pod fails, one that has the image proves nothing.
	runs(first)
	w.wants(time.Minute, "pod db/basic-tikv-1 (ErrImagePull")
	// The database of the pod may still not be ready.
	runs(second)
	second.Status.Phase = corev1.PodPending
	w.wants(time.Minute, "")
	w.wantsLog(onFirst, "injected again")
	lists := w.lists
	if w.wants(time.Minute, ""); w.lists != lists+1 {
		t.Errorf("%d lists for a look where nothing is known, want 1", w.lists-lists)
	}
}

// An image that another webhook has put in place of the agent's is called by its name, and
// keeps the agent from no other namespace. Each namespace is known by itself.
func TestImageOfAnotherWebhook(t *testing.T) {
	w := newWorld(t)
	mirrored := func(p *corev1.Pod) {
		p.Namespace, p.Spec.Containers[1].Image = "mirrored", "mirror.example.com/tidelay/agent:v2"
	}
	of := func(namespace, image string) {
		t.Helper()
		got := w.watcher.Problem(namespace, w.config)
		if got.Image != image || !strings.Contains(got.Detail, image) {
			t.Errorf("in namespace %q: %+v, want image %q", namespace, got, image)
		}
	}
	failing := pending("basic-tikv-0", "ImagePullBackOff", mirrored)
	w.pods = []*corev1.Pod{failing}
	w.wants(0, "")
	of("mirrored", "mirror.example.com/tidelay/agent:v2")
	of("", "")

	// Then the agent's own image fails too, elsewhere, and is pulled at last.
	own := pending("basic-pd-0", "ErrImagePull")
	w.pods = append(w.pods, own)
	w.wants(time.Minute, "image tidelay/agent:v2 can't be pulled on pod db/basic-pd-0")
	of("", "tidelay/agent:v2")
	runs(own)
	w.wants(time.Minute, "")
	of("mirrored", "mirror.example.com/tidelay/agent:v2")

	w.pods = nil
	w.wants(retryAfter-time.Second, "")
	of("mirrored", "mirror.example.com/tidelay/agent:v2")
	runs(failing)
	w.pods = []*corev1.Pod{failing}
	w.wants(0, "")
	of("mirrored", "")
	w.wantsLog("mirror.example.com/tidelay/agent:v2 can't be pulled on pod mirrored/basic-tikv-0", "pod db/basic-pd-0", "injected again", "injected again")
}

func TestPodThatFailedGoes(t *testing.T) {
	for name, after := range map[string]*corev1.Pod{
		"and is not made again": nil,
		// Its agent, of somebody else's image, runs.
		"and is made again": pending("basic-tikv-0", "", runs, func(p *corev1.Pod) { p.UID = "another" }),
		"slowly": pending("basic-tikv-0", "ImagePullBackOff", func(p *corev1.Pod) {
			p.DeletionTimestamp = &p.CreationTimestamp
			p.CreationTimestamp.Time = time.Unix(1, 0)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pods = []*corev1.Pod{pending("basic-tikv-0", "ImagePullBackOff")}
			w.wants(0, onFirst)
			w.pods = nil
			if after != nil {
				w.pods = []*corev1.Pod{after}
			}
			w.wants(retryAfter-time.Nanosecond, onFirst)
			w.wants(time.Nanosecond, "")
			w.wantsLog(onFirst, "injected again")
		})
	}
}

// Pods that fail by settings that were replaced say nothing of the next pod, unless it
// can't do better.
func TestSettingsChange(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*injection.Config)
		want   string
	}{
		"another pull secret":  {func(c *injection.Config) { c.PullSecrets = append(slices.Clone(c.PullSecrets), "another") }, ""},
		"no pull secret":       {func(c *injection.Config) { c.PullSecrets = nil }, onFirst},
		"the policy Never":     {func(c *injection.Config) { c.PullPolicy = corev1.PullNever }, ""},
		"the policy Always":    {func(c *injection.Config) { c.PullPolicy = corev1.PullAlways }, onFirst},
		"a setting of its own": {func(c *injection.Config) { c.TokenSecret = "token" }, onFirst},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pods = []*corev1.Pod{pending("basic-tikv-0", "ImagePullBackOff")}
			w.wants(0, onFirst)
			test.change(&w.config)
			w.says(test.want)
			w.wants(time.Minute, test.want)
		})
	}
}

func TestPodsAreNotRead(t *testing.T) {
	w := newWorld(t)
	failing := pending("basic-tikv-0", "ImagePullBackOff")
	w.pods = []*corev1.Pod{failing}
	w.wants(0, onFirst)
	w.err = errors.New("the API server does not answer")
	runs(failing)
	for range 3 {
		w.wants(time.Minute, onFirst)
	}
	w.wantsLog(onFirst, "the API server does not answer")
	w.wants(retryAfter, "")
	w.err = nil
	w.wants(time.Minute, "")
	w.wantsLog(onFirst, "the API server does not answer", "injected again")
}

// However many pods fail, a look after they have gone costs a bounded number of lists.
func TestManyPodsFail(t *testing.T) {
	w := newWorld(t)
	long := func(p *corev1.Pod) {
		p.Status.ContainerStatuses[1].State.Waiting.Message = strings.Repeat("ü", 10_000)
	}
	for i := range 1000 {
		w.pods = append(w.pods, pending(fmt.Sprintf("basic-tikv-%d", i), "ErrImagePull", long))
	}
	w.wants(0, "basic-tikv-0")
	if got := w.watcher.Problem("db", w.config).Detail; len(got) > 600 || !strings.Contains(got, "üüü") {
		t.Errorf("the problem has %d bytes: %s", len(got), got)
	}
	w.pods, w.lists = nil, 0
	if w.wants(time.Minute, "basic-tikv-0"); w.lists != 1+maxFailures {
		t.Errorf("%d lists, want %d", w.lists, 1+maxFailures)
	}
}

func TestGauge(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	w := newWorld(t)
	watcher, err := New(Options{Config: config, Pods: w, Interval: time.Minute, Metrics: registry, Log: w.watcher.options.Log})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"0", "1"} {
		text := "# HELP tidelay_image_unavailable 1 while the agent's image is known not to be pulled on some pod, so that no pod is injected, else 0.\n# TYPE tidelay_image_unavailable gauge\ntidelay_image_unavailable " + want + "\n"
		if err := testutil.GatherAndCompare(registry, strings.NewReader(text)); err != nil {
			t.Error(err)
		}
		w.pods = []*corev1.Pod{pending("basic-tikv-0", "ImagePullBackOff")}
		watcher.look(t.Context())
	}
	if _, err := New(Options{Metrics: registry}); err == nil {
		t.Error("the gauge is registered twice")
	}
}

// Start looks at once, and ends with its context.
func TestStart(t *testing.T) {
	w := newWorld(t)
	w.pods = []*corev1.Pod{pending("basic-tikv-0", "ImagePullBackOff")}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.watcher.Start(ctx) }()
	deadline := time.Now().Add(time.Minute)
	for w.watcher.Problem("", config()).Image == "" {
		if time.Now().After(deadline) {
			t.Fatal("no look within a minute")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
