//go:build apiserver

package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

const (
	root      = "../.."
	manifests = root + "/manifests"
)

// assets are the programs KUBEBUILDER_ASSETS must hold.
var assets = []string{"etcd", "kube-apiserver", "kubectl"}

// auditPolicy records what admission did to each pod, and what Tidelay's programs
// ask for. Level Request adds each webhook's patch to the annotations.
const auditPolicy = `{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [
	{"level": "Request", "verbs": ["create"], "resources": [{"group": "", "resources": ["pods"]}]},
	{"level": "Metadata", "users": ["` + userPrefix + injectorName + `", "` + userPrefix + controllerName + `"]},
	{"level": "None"}]}`

// egressConfig makes the API server reach Services through our network, so
// the shipped webhook configuration works unchanged without a kube-proxy.
const egressConfig = `{"apiVersion": "apiserver.k8s.io/v1beta1", "kind": "EgressSelectorConfiguration", "egressSelections": [
	{"name": "cluster", "connection": {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": %q}}}}]}`

// startControlPlane starts etcd and kube-apiserver with the default admission
// plugins: ServiceAccount (which mounts tokens) and PodSecurity matter here.
func (s *suite) startControlPlane() error {
	dir, err := assetDir()
	if err != nil {
		return err
	}
	if s.network, err = newNetwork(filepath.Join(s.dir, "egress.sock")); err != nil {
		return err
	}
	s.audit = &auditLog{path: filepath.Join(s.dir, "audit.json")}
	policy := filepath.Join(s.dir, "audit-policy.json")
	egress := filepath.Join(s.dir, "egress.json")
	apiserverLog, err := os.Create(filepath.Join(s.dir, "kube-apiserver.log"))
	if err != nil {
		return fmt.Errorf("create log: %w", err)
	}
	for name, text := range map[string]string{policy: auditPolicy, egress: fmt.Sprintf(egressConfig, s.network.path)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return fmt.Errorf("write API server configuration: %w", err)
		}
	}

	const patience = 2 * time.Minute // a loaded two-core machine
	apiserver := &envtest.APIServer{StartTimeout: patience, StopTimeout: patience, Err: apiserverLog}
	apiserver.Configure().
		Disable("disable-admission-plugins").
		Set("audit-policy-file", policy).
		Set("audit-log-path", s.audit.path).
		Set("egress-selector-config-file", egress)
	s.plane = &envtest.ControlPlane{
		APIServer: apiserver,
		Etcd:      &envtest.Etcd{StartTimeout: patience, StopTimeout: patience},
	}
	if err := s.plane.Start(); err != nil {
		return fmt.Errorf("start control plane: %w", err)
	}
	return s.connect(filepath.Join(dir, "kubectl"))
}

// connect makes the clients of the cluster-admin.
func (s *suite) connect(kubectlPath string) error {
	admin, err := s.plane.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return fmt.Errorf("add admin: %w", err)
	}
	s.config = admin.Config()
	s.config.QPS = -1 // no client-side limit
	if s.client, err = client.New(s.config, client.Options{}); err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	clients, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	s.pods = clients.CoreV1().RESTClient()

	kubeconfig, err := admin.KubeConfig()
	if err != nil {
		return fmt.Errorf("make kubeconfig: %w", err)
	}
	s.kubectl = kubectl{
		path:       kubectlPath,
		kubeconfig: filepath.Join(s.dir, "admin.kubeconfig"),
		cache:      filepath.Join(s.dir, "kubectl-cache"),
	}
	if err := os.WriteFile(s.kubectl.kubeconfig, kubeconfig, 0o600); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}

// assetDir returns KUBEBUILDER_ASSETS, checked: a missing program is a
// failure, never a skip.
func assetDir() (string, error) {
	dir := os.Getenv("KUBEBUILDER_ASSETS")
	if dir == "" {
		return "", fmt.Errorf("KUBEBUILDER_ASSETS is not set: run `make test-apiserver`, " +
			"or set it to the folder that hack/kube-assets.sh prints")
	}
	for _, name := range assets {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("KUBEBUILDER_ASSETS=%s lacks %s: hack/kube-assets.sh builds %s: %w",
				dir, name, strings.Join(assets, ", "), err)
		}
	}
	return dir, nil
}

// operatorCRDs returns the file with TiDB Operator's CRDs, from the module that
// the cluster tier builds the operator from.
func operatorCRDs(ctx context.Context) (string, error) {
	dir, err := operatorManifests(ctx)
	return filepath.Join(dir, "crd.yaml"), err
}

func operatorManifests(ctx context.Context) (string, error) {
	const module = "github.com/pingcap/tidb-operator"
	download := exec.CommandContext(ctx, "go", "mod", "download", "-json", module)
	download.Dir = root + "/hack/modules/operator"
	out, err := download.Output()
	if err != nil {
		return "", fmt.Errorf("download %s: %w\n%s", module, err, out)
	}
	var downloaded struct{ Dir string }
	if err := json.Unmarshal(out, &downloaded); err != nil {
		return "", fmt.Errorf("read answer of go mod download: %w", err)
	}
	return filepath.Join(downloaded.Dir, "manifests"), nil
}

// kubectl runs the client as cluster-admin.
type kubectl struct {
	path, kubeconfig, cache string
}

func (k kubectl) run(ctx context.Context, args ...string) error {
	_, err := k.output(ctx, args...)
	return err
}

// output is run that returns what kubectl prints.
func (k kubectl) output(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, k.path, append([]string{"--kubeconfig", k.kubeconfig, "--cache-dir", k.cache}, args...)...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, output.String())
	}
	return output.String(), nil
}
