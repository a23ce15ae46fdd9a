package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/tidelay/tidelay/pkg/confirm"
	"github.com/tidelay/tidelay/pkg/injection"
	"github.com/tidelay/tidelay/pkg/injection/gather"
	"github.com/tidelay/tidelay/pkg/tidbcluster"
	"github.com/tidelay/tidelay/pkg/tidbcluster/resolve"
)

// onlyCluster is an API server that has one TidbCluster, opted in, with two
// StatefulSets, and the StatefulSet of a TidbMonitor.
type onlyCluster struct {
	client.Reader
	annotations map[string]string
}

func (c onlyCluster) Get(_ context.Context, key client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	owner := metav1.OwnerReference{APIVersion: "pingcap.com/v1alpha1", Kind: "TidbCluster", Name: "basic", UID: "uid-basic", Controller: new(true)}
	kind := object.GetObjectKind().GroupVersionKind().Kind
	switch kind + " " + key.String() {
	case "TidbCluster db/basic":
		object.SetAnnotations(c.annotations)
	case "StatefulSet db/basic-tikv", "StatefulSet db/basic-pd":
		object.SetOwnerReferences([]metav1.OwnerReference{owner})
	case "StatefulSet db/basic-monitor":
		owner.Kind = "TidbMonitor"
		object.SetOwnerReferences([]metav1.OwnerReference{owner})
	default:
		return apierrors.NewNotFound(schema.GroupResource{Resource: kind}, key.Name)
	}
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	object.SetUID(types.UID("uid-" + key.Name))
	return nil
}

// isMember says of a pod in the namespace db, without the code under test,
// whether it belongs to onlyCluster's TidbCluster.
func isMember(pod *corev1.Pod) bool {
	component := pod.Labels["app.kubernetes.io/component"]
	for _, ref := range pod.OwnerReferences {
		if ref.Controller == nil || !*ref.Controller {
			continue
		}
		// A pod has one controller; of several the first counts.
		name := "basic-" + component
		return (component == "tikv" || component == "pd") && ref.Kind == "StatefulSet" && strings.HasPrefix(ref.APIVersion, "apps/") &&
			ref.Name == name && ref.UID == types.UID("uid-"+name)
	}
	return false
}

// always is an API server that has made every pod that it is asked about.
type always struct{ client.Reader }

func (always) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return nil
}

func (always) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("not known")
}

// silent is a recorder for many at once that remembers nothing.
type silent struct{}

func (silent) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

// fuzzHandler is an Injector in front of onlyCluster, with the real resolver. The
// TidbCluster has the given annotations too, key and value in turn.
func fuzzHandler(t testing.TB, config injection.Config, annotations ...string) http.Handler {
	t.Helper()
	logf.SetLogger(logr.Discard())
	only := onlyCluster{annotations: map[string]string{tidbcluster.InjectAnnotation: "true"}}
	for pair := range slices.Chunk(annotations, 2) {
		only.annotations[pair[0]] = pair[1]
	}
	reader, err := confirm.NewReader(only, only, rate.NewLimiter(rate.Inf, 0), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	injector, err := New(Options{
		Decoder: admission.NewDecoder(clientgoscheme.Scheme),
		Gatherer: &gather.Gatherer{
			Config: func() injection.Config { return config }, Resolver: resolve.NewResolver(reader), Namespaces: level{}, Images: pulled{},
		},
		Pods: always{}, Limit: rate.NewLimiter(rate.Inf, 0),
		Events: silent{}, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return injector.Handler()
}

// ownedPod returns a pod whose controller is the StatefulSet of that name.
func ownedPod(t testing.TB, pod []byte, name string) []byte {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(pod, &object); err != nil {
		t.Fatal(err)
	}
	object["metadata"].(map[string]any)["ownerReferences"] = []any{reference("apps/v1", "StatefulSet", name, "uid-"+name)}
	owned, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return owned
}

func reference(apiVersion, kind, name, uid string) map[string]any {
	return map[string]any{"apiVersion": apiVersion, "kind": kind, "name": name, "uid": uid, "controller": true}
}

func applyPatch(t testing.TB, raw, operations []byte) []byte {
	t.Helper()
	patch, err := jsonpatch.DecodePatch(operations)
	if err != nil {
		t.Fatal(err)
	}
	patched, err := patch.Apply(raw)
	if err != nil {
		t.Fatalf("apply %s to %s: %v", operations, raw, err)
	}
	return patched
}

// chooser puts a pod together: each byte is one decision, and when they run
// out every further one is the first choice.
type chooser struct {
	rest []byte
	text string
}

func (c *chooser) number(below int) int {
	if len(c.rest) == 0 {
		return 0
	}
	n := int(c.rest[0]) % below
	c.rest = c.rest[1:]
	return n
}

func (c *chooser) one(of ...any) any { return of[c.number(len(of))] }

func (c *chooser) yes() bool { return c.number(2) == 1 }

// maybe sets a field of object, or leaves it out.
func (c *chooser) maybe(object map[string]any, name string, value any) {
	if c.yes() {
		object[name] = value
	}
}

// unknown is the value of a field that nobody knows.
func (c *chooser) unknown() any {
	return c.one(c.text, nil, 1.5, []any{}, map[string]any{c.text: []any{nil, c.text}})
}

func (c *chooser) pod() map[string]any {
	meta := map[string]any{"name": "basic-tikv-0"}
	c.maybe(meta, "ownerReferences", c.owners())
	c.maybe(meta, "labels", map[string]any{"app.kubernetes.io/component": c.one("tikv", "pd", "tidb", "", c.text)})
	c.maybe(meta, "annotations", c.annotations())
	c.maybe(meta, "namespace", c.one("db", "elsewhere", c.text))
	c.maybe(meta, "madeUp", c.unknown())
	if c.number(4) != 3 { // often enough a member
		meta["ownerReferences"] = []any{reference("apps/v1", "StatefulSet", "basic-tikv", "uid-basic-tikv")}
		meta["labels"] = map[string]any{"app.kubernetes.io/component": "tikv", c.text: c.text}
	}
	spec := map[string]any{"containers": c.containers(true)}
	c.maybe(spec, "initContainers", c.containers(false))
	c.maybe(spec, "volumes", c.volumes())
	c.maybe(spec, "imagePullSecrets", c.one(nil, []any{}, []any{map[string]any{"name": "mirror", "madeUp": c.text}}))
	c.maybe(spec, "resources", c.resources())
	c.maybe(spec, "madeUp", c.unknown())
	if c.number(8) == 7 {
		spec["hostNetwork"] = true
	}
	pod := map[string]any{"metadata": meta, "spec": spec}
	c.maybe(pod, "apiVersion", "v1")
	c.maybe(pod, "kind", "Pod")
	c.maybe(pod, "madeUp", c.unknown())
	return pod
}

func (c *chooser) owners() any {
	name := c.one("basic-tikv", "basic-pd", "basic-monitor", "basic", c.text).(string)
	owner := reference(
		c.one("apps/v1", "apps/v1beta2", "apps.pingcap.com/v1", "v1", c.text).(string),
		c.one("StatefulSet", "ReplicaSet", "TidbCluster", c.text).(string),
		name, c.one("uid-"+name, "forged", "").(string))
	owner["controller"] = c.one(true, false, nil)
	c.maybe(owner, "madeUp", c.unknown())
	return c.one([]any{owner}, []any{}, nil, []any{owner, reference("apps/v1", "StatefulSet", "basic-pd", "uid-basic-pd")})
}

func (c *chooser) annotations() any {
	all := map[string]any{}
	c.maybe(all, injection.StatusAnnotation, c.one("{}", c.text))
	c.maybe(all, injection.DefaultContainerAnnotation, c.text)
	c.maybe(all, tidbcluster.InjectAnnotation, c.one("true", "false", c.text))
	c.maybe(all, c.text, c.text)
	return c.one(all, nil, map[string]any{})
}

func (c *chooser) containers(first bool) any {
	var list []any
	for range c.number(4) {
		container := map[string]any{"name": c.one("tikv", "sidecar", c.text, injection.ContainerName), "image": "i"}
		port := map[string]any{"containerPort": c.one(20160, 2332, 0, -1)}
		c.maybe(port, "protocol", c.one("TCP", "UDP"))
		c.maybe(port, "madeUp", c.unknown())
		c.maybe(container, "ports", []any{port})
		c.maybe(container, "readinessProbe", map[string]any{"tcpSocket": map[string]any{"port": c.one(20160, "server", c.text)}})
		c.maybe(container, "livenessProbe", c.one(nil, map[string]any{}, map[string]any{"grpc": map[string]any{"port": 1}}))
		c.maybe(container, "resources", c.resources())
		c.maybe(container, "madeUp", c.unknown())
		list = append(list, container)
	}
	if first && len(list) == 0 && c.number(4) != 3 {
		list = append(list, map[string]any{"name": "tikv"})
	}
	if list == nil {
		return c.one([]any{}, nil)
	}
	return list
}

func (c *chooser) volumes() any {
	volume := map[string]any{"name": c.one("data", c.text, "tidelay-state", "tidelay-token")}
	c.maybe(volume, "madeUpSource", c.unknown())
	return c.one([]any{volume}, []any{}, nil)
}

func (c *chooser) resources() any {
	amounts := map[string]any{"cpu": c.one("1", "100m", 2, "0", c.text), "memory": c.one("1Gi", "0", c.text)}
	return c.one(map[string]any{"limits": amounts}, map[string]any{"limits": amounts, "requests": amounts}, map[string]any{}, nil)
}
