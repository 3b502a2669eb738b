#compdef peer-observer
# Completion for zsh: the program itself says what may follow. It is told of the word
# that is being typed only where that is a flag or the value of one: it would take the
# beginning of a command for an argument of the default command.
local last=$CURRENT
local -a options
if [[ ${words[CURRENT]} != -* && ${words[CURRENT - 1]} != --* ]]; then
  last=$((CURRENT - 1))
fi
options=(${(f)"$(${words[1]} --completion-bash "${(@)words[2,last]}" 2>/dev/null)"})
if (( $#options )); then
  compadd -a options
else
  _files
fi
