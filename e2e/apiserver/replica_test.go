//go:build apiserver

package apiserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// replica is one injector process. Addresses are host:port on loopback.
type replica struct {
	webhook, health, metrics string
	started                  time.Time
	cmd                      *exec.Cmd
	exited                   chan struct{} // closed when the process is gone
}

// injectorBinary returns $TIDELAY_INJECTOR, or builds the injector into dir.
func injectorBinary(ctx context.Context, dir string) (string, error) {
	if path := os.Getenv("TIDELAY_INJECTOR"); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(dir, "injector")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/injector")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build injector: %w\n%s", err, out)
	}
	return path, nil
}

// serviceAccountKubeconfig writes a kubeconfig for an API server at a URL with a
// certificate of ca, and a token of the shipped ServiceAccount: the injector can
// do what the shipped RBAC allows it and no more.
func (s *suite) serviceAccountKubeconfig(ctx context.Context, url string, ca []byte) (string, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: injectorName}}
	token := &authenticationv1.TokenRequest{}
	if err := s.client.SubResource("token").Create(ctx, account, token); err != nil {
		return "", fmt.Errorf("request a token for %s: %w", account.Name, err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: url, CertificateAuthorityData: ca}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	config.CurrentContext = "x"
	path := filepath.Join(s.dir, fmt.Sprintf("%x.kubeconfig", url))
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", fmt.Errorf("write kubeconfig: %w", err)
	}
	return path, nil
}

// startReplica starts a process as the shipped Deployment would, but for its
// addresses and credentials, and flags that the test adds. It does not look for
// missed pods unless they say so. It returns before the injector is ready.
func (s *suite) startReplica(ctx context.Context, flags ...string) (*replica, error) {
	deployment := &appsv1.Deployment{}
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: injectorName}, deployment); err != nil {
		return nil, fmt.Errorf("get Deployment: %w", err)
	}
	args, env := commandLine(&deployment.Spec.Template.Spec.Containers[0])
	config, err := s.mountConfig(ctx)
	if err != nil {
		return nil, err
	}
	addresses, err := freeAddresses()
	if err != nil {
		return nil, err
	}
	r := &replica{webhook: addresses[0], health: addresses[1], metrics: addresses[2], exited: make(chan struct{})}
	_, webhookPort, _ := net.SplitHostPort(r.webhook)
	args = append(args, "--kubeconfig="+s.kubeconfig, "--config="+config, "--webhook-port="+webhookPort,
		"--health-addr="+r.health, "--metrics-addr="+r.metrics, "--missed-check=0s")
	args = append(args, flags...)

	log, err := os.Create(filepath.Join(s.dir, "injector-"+webhookPort+".log"))
	if err != nil {
		return nil, fmt.Errorf("create log: %w", err)
	}
	defer log.Close()
	r.cmd = exec.Command(s.binary, args...)
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = env, log, log
	r.started = time.Now()
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start injector: %w", err)
	}
	go func() {
		_ = r.cmd.Wait()
		close(r.exited)
	}()
	return r, nil
}

// mountConfig brings the shipped ConfigMap to where a replica can read it, as
// kubelet does, and returns the file's path.
func (s *suite) mountConfig(ctx context.Context) (string, error) {
	config := &corev1.ConfigMap{}
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: injectorName}, config); err != nil {
		return "", fmt.Errorf("get ConfigMap: %w", err)
	}
	path := filepath.Join(s.dir, "config.yaml")
	if err := os.WriteFile(path, []byte(config.Data["config.yaml"]), 0o600); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}

// newReplica is startReplica for a test. The process ends with the test unless
// it has become world.injector.
func newReplica(t *testing.T, flags ...string) *replica {
	t.Helper()
	r, err := world.startReplica(t.Context(), flags...)
	must(t, err)
	t.Cleanup(func() {
		if r != world.injector {
			r.kill()
		}
	})
	return r
}

// lend has r serve in place of world.injector until the test ends.
func lend(t *testing.T, r *replica) {
	t.Helper()
	must(t, r.waitReady(t.Context()))
	lender := world.injector
	world.injector = r
	must(t, world.serveFrom(t.Context(), r))
	t.Cleanup(func() {
		world.injector = lender
		must(t, world.serveFrom(context.Background(), lender))
	})
}

// commandLine is what kubelet makes of a container's args and env.
func commandLine(container *corev1.Container) (args, env []string) {
	var pairs []string
	for _, variable := range container.Env {
		value := variable.Value
		if from := variable.ValueFrom; from != nil && from.FieldRef.FieldPath == "metadata.namespace" {
			value = systemNamespace
		}
		env = append(env, variable.Name+"="+value)
		pairs = append(pairs, "$("+variable.Name+")", value)
	}
	expand := strings.NewReplacer(pairs...)
	for _, arg := range container.Args {
		args = append(args, expand.Replace(arg))
	}
	return args, env
}

// waitReady waits for /readyz.
func (r *replica) waitReady(ctx context.Context) error {
	err := r.until(ctx, func() error {
		_, err := get(ctx, "http://"+r.health+"/readyz")
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for readyz: %w", err)
	}
	return nil
}

// until polls for a minute, or as long as the process lives.
func (r *replica) until(ctx context.Context, check func() error) error {
	return poll(ctx, time.Minute, func() error {
		err := check()
		select {
		case <-r.exited:
			return final{fmt.Errorf("injector ended: %s", r.cmd.ProcessState)}
		default:
			return err
		}
	})
}

// kill ends the process as a lost node does: no drain, no goodbye.
func (r *replica) kill() {
	_ = r.cmd.Process.Kill()
	<-r.exited
}

// freeAddresses returns loopback addresses nobody listens on.
func freeAddresses() (addresses [3]string, err error) {
	for i := range addresses {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return addresses, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = listener.Close() }() // not before all are found
		addresses[i] = listener.Addr().String()
	}
	return addresses, nil
}

// get returns the body of a 200 answer.
func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, response.Status, body)
	}
	return string(body), err
}
