package git

import (
	"errors"
	"fmt"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
)

// User returns who makes commits in the repository, as Git's configuration on
// this machine says; empty where it says nothing.
func User(repository string) (name, email string, err error) {
	c, err := configuration(repository)
	if err != nil {
		return "", "", fmt.Errorf("read Git's configuration: %w", err)
	}
	return c.User.Name, c.User.Email, nil
}

// configuration is that of a repository on this machine, else that of whoever
// uses the machine.
func configuration(repository string) (*config.Config, error) {
	if path, local := Local(repository); local {
		repo, err := gogit.PlainOpenWithOptions(path, &gogit.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
		if err == nil {
			return repo.ConfigScoped(config.SystemScope)
		}
		if !errors.Is(err, gogit.ErrRepositoryNotExists) {
			return nil, err
		}
	}
	return config.LoadConfig(config.GlobalScope)
}
