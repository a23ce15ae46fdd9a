package bench

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tcv1alpha1 "github.com/pingcap/tidb-operator/pkg/apis/pingcap/v1alpha1"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/tidelay/tidelay/pkg/apis/v1alpha1"
)

const manifests = "../../manifests"

// plane is a real API server with what the controller needs of the shipped manifests.
type plane struct {
	client.Client
	admin      *kubernetes.Clientset
	kubeconfig []byte // with the rights of the shipped ServiceAccount of the controller
}

// startPlane starts etcd and kube-apiserver of $KUBEBUILDER_ASSETS until the benchmark
// ends.
func startPlane(b *testing.B) *plane {
	b.Helper()
	dir := os.Getenv("KUBEBUILDER_ASSETS")
	if dir == "" {
		b.Fatal("KUBEBUILDER_ASSETS is not set: run `make bench-controller`")
	}
	const patience = 5 * time.Minute
	control := &envtest.ControlPlane{
		APIServer: &envtest.APIServer{StartTimeout: patience, StopTimeout: patience},
		Etcd:      &envtest.Etcd{StartTimeout: patience, StopTimeout: patience},
	}
	must(b, control.Start())
	b.Cleanup(func() { must(b, control.Stop()) })
	user := func(name string, groups ...string) *envtest.AuthenticatedUser {
		u, err := control.AddUser(envtest.User{Name: name, Groups: groups}, nil)
		must(b, err)
		return u
	}
	admin := user("admin", "system:masters")
	p := &plane{}
	var err error
	p.kubeconfig, err = user("system:serviceaccount:"+SystemNamespace+":tidelay-controller", "system:serviceaccounts").KubeConfig()
	must(b, err)
	p.install(b, filepath.Join(dir, "kubectl"), admin)

	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme, tcv1alpha1.AddToScheme} {
		must(b, add(types))
	}
	config := admin.Config()
	config.QPS = -1 // no client-side limit
	p.Client, err = client.New(config, client.Options{Scheme: types})
	must(b, err)
	p.admin, err = kubernetes.NewForConfig(config)
	must(b, err)
	p.waitKinds(b)
	return p
}

// waitKinds waits until the API server serves the kinds of the CRDs.
func (p *plane) waitKinds(b *testing.B) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		err := errors.Join(p.List(b.Context(), &v1alpha1.NetworkFaultList{}), p.List(b.Context(), &tcv1alpha1.TidbClusterList{}))
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// install applies the CRDs and the controller's rights.
func (p *plane) install(b *testing.B, kubectl string, admin *envtest.AuthenticatedUser) {
	b.Helper()
	dir := b.TempDir()
	text, err := admin.KubeConfig()
	must(b, err)
	kubeconfig := filepath.Join(dir, "kubeconfig")
	must(b, os.WriteFile(kubeconfig, text, 0o600))
	run := func(args ...string) {
		cmd := exec.CommandContext(b.Context(), kubectl, append([]string{"--kubeconfig", kubeconfig, "--cache-dir", dir}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	run("create", "-f", manifests+"/namespace.yaml", "-f", manifests+"/crds/tidelay.io_networkfaults.yaml", "-f", manifests+"/crds/tidelay.io_networktopologies.yaml", "-f", manifests+"/controller/rbac.yaml", "-f", operatorCRDs(b))
}

// operatorCRDs returns the file with TiDB Operator's CRDs, from the module that the
// cluster tier builds the operator from.
func operatorCRDs(b *testing.B) string {
	b.Helper()
	download := exec.CommandContext(b.Context(), "go", "mod", "download", "-json", "github.com/pingcap/tidb-operator")
	download.Dir = "../../hack/modules/operator"
	out, err := download.Output()
	must(b, err)
	var downloaded struct{ Dir string }
	must(b, json.Unmarshal(out, &downloaded))
	return filepath.Join(downloaded.Dir, "manifests", "crd.yaml")
}

// written returns how many objects the API server has written of the kinds that the
// controller writes, but for the Lease of its lead.
func (p *plane) written(b *testing.B) map[string]float64 {
	b.Helper()
	all := map[string]float64{"networkfaults": 0, "tidbclusters": 0, "events": 0, "pods": 0}
	for _, m := range family(b, p.scrape(b), "apiserver_request_total") {
		l := labels(m)
		_, isOurs := all[l["resource"]]
		isWrite := l["verb"] != "GET" && l["verb"] != "LIST" && l["verb"] != "WATCH"
		if isOurs && isWrite && strings.HasPrefix(l["code"], "2") {
			all[l["resource"]] += m.GetCounter().GetValue()
		}
	}
	return all
}

// cpuOfServer returns the CPU time that the API server has used, in seconds.
func (p *plane) cpuOfServer(b *testing.B) float64 {
	b.Helper()
	return number(b, p.scrape(b), "process_cpu_seconds_total")
}

// scrape returns the metrics of the API server.
func (p *plane) scrape(b *testing.B) string {
	b.Helper()
	text, err := p.admin.RESTClient().Get().AbsPath("/metrics").DoRaw(b.Context())
	must(b, err)
	return string(text)
}

// family returns the metrics of one name; none before the first is counted.
func family(b *testing.B, text, name string) []*dto.Metric {
	b.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	must(b, err)
	return families[name].GetMetric()
}

func labels(m *dto.Metric) map[string]string {
	all := map[string]string{}
	for _, l := range m.GetLabel() {
		all[l.GetName()] = l.GetValue()
	}
	return all
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
