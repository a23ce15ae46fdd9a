package plugin

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/tidelay/tidelay/pkg/plugin/look"
	"github.com/tidelay/tidelay/pkg/plugin/report"
)

// versions is what the verb version says.
type versions struct {
	Client   string `json:"client"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// The others are empty with --client: versions, "installed", or why that is not known.
	Controller        string `json:"controller,omitempty"`
	Injector          string `json:"injector,omitempty"`
	NetworkFaults     string `json:"networkFaults,omitempty"`
	NetworkTopologies string `json:"networkTopologies,omitempty"`
	// Skew has a sentence for each program of another version.
	Skew []string `json:"skew,omitempty"`
}

// newVersion returns the verb version.
func (a *app) newVersion() *cobra.Command {
	var output, system string
	var onlyClient bool
	cmd := verb("version [flags]", "Show the versions of this plugin and of what is installed",
		`The versions of controller and injector are the tags of their images. If one differs from this
plugin, that is said: what only the newer one knows does not work. Which is newer is known of
releases only, not of a commit or dev.

  kubectl tidelay version --client`, exactly(0, "no arguments"))
	cmd.Flags().BoolVar(&onlyClient, "client", false, "only the version of this plugin; asks nobody")
	cmd.Flags().StringVar(&system, "tidelay-namespace", look.TidelayNamespace, "where the injector and the controller are")
	cmd.Flags().StringVarP(&output, "output", "o", "", "yaml or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkOutput(output, "yaml", "json"); err != nil {
			return err
		}
		v := versions{Client: a.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
		var failed error
		if !onlyClient {
			failed = a.addInstalled(cmd.Context(), &v, system)
		}
		write := a.writeVersions
		if output != "" {
			write = func(v *versions) error { return a.encode(v, output) }
		}
		if err := write(&v); err != nil {
			return err
		}
		return failed
	}
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	register(cmd, "output", cobra.FixedCompletions([]string{"yaml", "json"}, noFiles))
	return cmd
}

// addInstalled adds what is installed.
func (a *app) addInstalled(ctx context.Context, v *versions, system string) error {
	c, namespace, err := a.connect()
	if err != nil {
		return err
	}
	i, err := look.ReadInstalled(ctx, c, system, namespace)
	if err != nil {
		return err
	}
	v.Controller, v.Injector = i.Controller.String(), i.Injector.String()
	v.NetworkFaults, v.NetworkTopologies = i.NetworkFaults.String(), i.NetworkTopologies.String()
	v.tellSkew("controller", i.Controller)
	v.tellSkew("injector", i.Injector)
	return nil
}

func (v *versions) tellSkew(name string, other look.Known) {
	if other.Value == "" || other.Value == v.Client {
		return
	}
	so := "what only the newer one knows does not work"
	if !report.IsRelease(v.Client) || !report.IsRelease(other.Value) {
		so = "which is newer can't be told, and what only that one knows does not work"
	}
	v.Skew = append(v.Skew, fmt.Sprintf("the %s is %s, and this plugin %s: %s", name, other.Value, v.Client, so))
}

func (a *app) writeVersions(v *versions) error {
	t := printers.GetNewTabWriter(a.Out)
	for _, line := range [][2]string{
		{"kubectl tidelay", v.Client},
		{"controller", v.Controller},
		{"injector", v.Injector},
		{"NetworkFaults", v.NetworkFaults},
		{"NetworkTopologies", v.NetworkTopologies},
	} {
		if line[1] != "" {
			_, _ = fmt.Fprintf(t, "%s\t%s\n", line[0], line[1])
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write versions: %w", err)
	}
	for _, text := range v.Skew {
		a.say("%s", a.Bad(text))
	}
	return nil
}
