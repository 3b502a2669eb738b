# Completion for bash: the program itself says what may follow. It is told of the word
# that is being typed only where that is a flag or the value of one: it would take the
# beginning of a command for an argument of the default command.
_peer_observer() {
  local current=${COMP_WORDS[COMP_CWORD]} count=$COMP_CWORD
  if [[ $current != -* && ${COMP_WORDS[COMP_CWORD - 1]} != --* ]]; then
    count=$((count - 1))
  fi
  mapfile -t COMPREPLY < <(compgen -W "$("${COMP_WORDS[0]}" --completion-bash "${COMP_WORDS[@]:1:count}" 2>/dev/null)" -- "$current")
}
complete -o default -F _peer_observer peer-observer
