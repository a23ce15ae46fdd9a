package plugin

import (
	"runtime"

	"github.com/spf13/cobra"
)

// versions is what the verb version says.
type versions struct {
	Client   string `json:"client"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// newVersion returns the verb version.
func (a *app) newVersion() *cobra.Command {
	var output string
	cmd := verb("version [flags]", "Show the version of this plugin", "It asks nobody.", exactly(0, "none"))
	cmd.Flags().StringVarP(&output, "output", "o", "", "yaml or json")
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := checkOutput(output, "yaml", "json"); err != nil {
			return err
		}
		if output == "" {
			a.say("kubectl tidelay %s", a.Version)
			return nil
		}
		return a.encode(versions{a.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}, output)
	}
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	return cmd
}
