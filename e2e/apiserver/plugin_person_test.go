//go:build apiserver

package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// pluginBinary builds the plugin once, for the tests that want it.
var pluginBinary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("TIDELAY_PLUGIN"); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(world.dir, "kubectl-tidelay")
	build := exec.Command("go", "build", "-o", path, "./cmd/kubectl-tidelay")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the plugin: %w\n%s", err, out)
	}
	return path, nil
})

// What Kubernetes' own roles are made of. The controller that puts them together does not run
// here.
var (
	viewRoles = []string{"system:aggregate-to-view", viewerRole}
	editRoles = []string{"system:aggregate-to-view", "system:aggregate-to-edit", viewerRole, operatorRole}
)

// person is somebody with the plugin and a kubeconfig.
type person struct {
	namespace
	user, kubeconfig string
}

// person returns a person who has ClusterRoles in the namespace, and nothing elsewhere.
func (n namespace) person(name string, roles ...string) person {
	n.t.Helper()
	p := person{namespace: n, user: n.name + "-" + name}
	for _, role := range roles {
		p.give(role)
	}
	user, err := world.plane.AddUser(envtest.User{Name: p.user}, nil)
	must(n.t, err)
	content, err := user.KubeConfig()
	must(n.t, err)
	p.kubeconfig = filepath.Join(n.t.TempDir(), name+".kubeconfig")
	must(n.t, os.WriteFile(p.kubeconfig, content, 0o600))
	return p
}

func (p person) subjects() []rbacv1.Subject {
	return []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: p.user}}
}

// give binds a ClusterRole to the person in the namespace.
func (p person) give(role string) {
	p.t.Helper()
	name := p.user + "-" + strings.ReplaceAll(role, ":", "-")
	p.make(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.name, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}, Subjects: p.subjects(),
	})
}

// allow gives the person rights by a ClusterRole of its own, in the namespace and, for nodes,
// everywhere. It returns when they are in force.
func (p person) allow(rights ...access) {
	p.t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: p.user}}
	everywhere := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: p.user + "-everywhere"}}
	for _, r := range rights {
		resource := r.Resource
		if r.Subresource != "" {
			resource += "/" + r.Subresource
		}
		to := role
		if isEverywhere(r) {
			to = everywhere
		}
		to.Rules = append(to.Rules, rbacv1.PolicyRule{APIGroups: []string{r.Group}, Resources: []string{resource}, Verbs: []string{r.Verb}})
	}
	p.make(role)
	p.make(everywhere)
	p.give(role.Name)
	p.make(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: everywhere.Name}, Subjects: p.subjects(),
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: everywhere.Name},
	})
	p.may(rights...)
}

func isEverywhere(a access) bool { return a.Resource == "nodes" || a.Group == "apiextensions.k8s.io" }

// may waits until the API server knows of rights that the person has.
func (p person) may(rights ...access) {
	p.t.Helper()
	for _, r := range rights {
		if !isEverywhere(r) && r.Namespace == "" {
			r.Namespace = p.name
		}
		eventually(p.t, 30*time.Second, func() error {
			return wantUserAllowed(p.t.Context(), p.user, []string{"system:authenticated"}, true, r)
		})
	}
}

// said is how a run of the plugin ended.
type said struct {
	args        []string
	status      int
	out, errOut string
}

// runs has the plugin run as the person in the namespace.
func (p person) runs(args ...string) said {
	p.t.Helper()
	return p.runsIn(p.t.Context(), append([]string{"--kubeconfig", p.kubeconfig, "--namespace", p.name}, args...)...)
}

func (p person) runsIn(ctx context.Context, args ...string) said {
	p.t.Helper()
	binary, err := pluginBinary()
	must(p.t, err)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = []string{"HOME=" + p.t.TempDir(), "PATH=" + os.Getenv("PATH")}
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	if _, is := errors.AsType[*exec.ExitError](err); err != nil && !is {
		p.t.Fatal(err)
	}
	return said{args, cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// wants checks the exit status, and words in what was printed, in any order.
func (s said) wants(t *testing.T, status int, words ...string) {
	t.Helper()
	if s.status != status {
		t.Errorf("%q: exit status %d, want %d\n%s%s", s.args, s.status, status, s.out, s.errOut)
	}
	for _, w := range words {
		if !strings.Contains(s.out+s.errOut, w) {
			t.Errorf("%q does not say %q:\n%s%s", s.args, w, s.out, s.errOut)
		}
	}
}
